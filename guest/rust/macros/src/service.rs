//! `#[service]`: from a trait to its client, its dispatch and its requests.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};
use syn::{
    Attribute, Error, FnArg, ItemTrait, Pat, ReceiverKind, Result, ReturnType, TraitItem,
    TraitItemFn, Type, Visibility,
};

/// One method.
struct Method<'a> {
    /// On the wire.
    number: u32,
    attributes: Vec<&'a Attribute>,
    name: &'a Ident,
    arguments: Vec<Argument<'a>>,
    output: TokenStream,
}

struct Argument<'a> {
    name: &'a Ident,
    /// As it is written.
    ty: &'a Type,
    is_reference: bool,
    /// What is read from a message while that is there.
    borrowed: TokenStream,
    /// What is read from a message and kept.
    owned: TokenStream,
}

pub(crate) fn expand(item: &ItemTrait) -> Result<TokenStream> {
    if !item.generics.params.is_empty() {
        return Err(Error::new_spanned(&item.generics, "a service has no parameters"));
    }
    let methods: Vec<Method<'_>> =
        item.items.iter().enumerate().map(method).collect::<Result<_>>()?;
    let (client, dispatch, request) =
        (client(item, &methods), dispatch(item, &methods), request(item, &methods));
    Ok(quote! { #item #client #dispatch #request })
}

fn method((number, item): (usize, &TraitItem)) -> Result<Method<'_>> {
    let TraitItem::Fn(TraitItemFn { attrs, sig, .. }) = item else {
        return Err(Error::new_spanned(item, "a service has methods only"));
    };
    if let Some(asyncness) = &sig.asyncness {
        return Err(Error::new_spanned(asyncness, "a call waits by itself: no async"));
    }
    if !sig.generics.params.is_empty() {
        return Err(Error::new_spanned(&sig.generics, "a method of a service has no parameters"));
    }
    let mut inputs = sig.inputs.iter();
    match inputs.next() {
        Some(FnArg::Receiver(receiver)) if matches!(receiver.kind, ReceiverKind::Reference(..)) => {
        }
        _ => return Err(Error::new_spanned(sig, "the first argument is &self or &mut self")),
    }
    let output = match &sig.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, ty) => quote!(#ty),
    };
    Ok(Method {
        number: number as u32,
        attributes: attrs.iter().filter(|attribute| attribute.path().is_ident("doc")).collect(),
        name: &sig.ident,
        arguments: inputs.map(argument).collect::<Result<_>>()?,
        output,
    })
}

fn argument(input: &FnArg) -> Result<Argument<'_>> {
    let FnArg::Typed(input) = input else {
        return Err(Error::new_spanned(input, "self comes first"));
    };
    let Pat::Ident(pattern) = &*input.pat else {
        return Err(Error::new_spanned(&input.pat, "an argument has a name"));
    };
    let ty = &*input.ty;
    let (is_reference, borrowed, owned) = match ty {
        Type::Reference(reference) if reference.mutability.is_some() => {
            return Err(Error::new_spanned(ty, "what is lent to another process cannot change"));
        }
        Type::Reference(reference) => match &*reference.elem {
            Type::Path(path) if path.path.is_ident("str") => {
                (true, quote!(&str), quote!(::std::string::String))
            }
            Type::Slice(slice) => {
                let element = &slice.elem;
                let owned = quote!(::std::vec::Vec<#element>);
                let is_bytes = matches!(&**element, Type::Path(path) if path.path.is_ident("u8"));
                (true, if is_bytes { quote!(&[u8]) } else { owned.clone() }, owned)
            }
            element => (true, quote!(#element), quote!(#element)),
        },
        _ => (false, quote!(#ty), quote!(#ty)),
    };
    Ok(Argument { name: &pattern.ident, ty, is_reference, borrowed, owned })
}

fn client(item: &ItemTrait, methods: &[Method<'_>]) -> TokenStream {
    let (visibility, name) = (&item.vis, format_ident!("{}Client", item.ident));
    let doc = format!("A process that has [`{}`].", item.ident);
    let public = public(visibility);
    let methods = methods.iter().map(|method| {
        let Method { number, attributes, name, arguments, output } = method;
        let (names, types): (Vec<_>, Vec<_>) =
            arguments.iter().map(|argument| (argument.name, argument.ty)).unzip();
        let references =
            arguments.iter().map(
                |Argument { name, is_reference, .. }| {
                    if *is_reference { quote!(#name) } else { quote!(&#name) }
                },
            );
        let errors = "\n# Errors\nAs [`peripatos::send`], and `Misunderstood`.";
        quote! {
            #(#attributes)*
            #[doc = #errors]
            #public fn #name(&self, #(#names: #types),*)
                -> ::core::result::Result<#output, ::peripatos::Error>
            {
                ::peripatos::typed::call(self.pid, #number, &(#(#references,)*))
            }
        }
    });
    quote! {
        #[doc = #doc]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[derive(::peripatos::serde::Serialize, ::peripatos::serde::Deserialize)]
        #[serde(crate = "::peripatos::serde")]
        #visibility struct #name {
            /// The process.
            #public pid: ::peripatos::Pid,
        }

        #[allow(dead_code, reason = "nobody calls all of it")]
        impl #name {
            /// Of the process with this pid.
            #[must_use]
            #public fn new(pid: ::peripatos::Pid) -> Self {
                Self { pid }
            }

            /// Of the process with this name.
            ///
            /// # Errors
            /// As [`peripatos::lookup`].
            #public fn lookup(name: &str) -> ::core::result::Result<Self, ::peripatos::Error> {
                ::peripatos::lookup(name).map(Self::new)
            }

            #(#methods)*
        }
    }
}

fn dispatch(item: &ItemTrait, methods: &[Method<'_>]) -> TokenStream {
    let service = &item.ident;
    let arms = methods.iter().map(|Method { number, name, arguments, .. }| {
        let names: Vec<_> = arguments.iter().map(|argument| argument.name).collect();
        let types = arguments.iter().map(|argument| &argument.borrowed);
        // What was read as a reference is one already.
        let values = arguments.iter().map(|Argument { name, is_reference, borrowed, .. }| {
            let is_lent = borrowed.to_string().starts_with('&');
            if *is_reference && !is_lent { quote!(&#name) } else { quote!(#name) }
        });
        quote! {
            #number => {
                let value = ::peripatos::typed::arguments::<(#(#types,)*)>(arguments)
                    .map(|(#(#names,)*)| <S as #service>::#name(service, #(#values),*));
                ::peripatos::typed::answer(value, buffer)
            }
        }
    });
    quote! {
        impl<S: #service> ::peripatos::Interface<S> for dyn #service {
            fn dispatch(service: &mut S, buffer: &mut [u8], len: usize) -> usize {
                let (method, arguments) = ::peripatos::typed::method(&buffer[..len]);
                match method {
                    #(#arms)*
                    _ => ::peripatos::typed::answer(::core::option::Option::<()>::None, buffer),
                }
            }
        }
    }
}

fn request(item: &ItemTrait, methods: &[Method<'_>]) -> TokenStream {
    let (visibility, name) = (&item.vis, format_ident!("{}Request", item.ident));
    let public = public(visibility);
    let doc = format!("A call of [`{}`] that is to be replied to.", item.ident);
    let variants = methods.iter().map(|Method { attributes, name, arguments, output, .. }| {
        let variant = camel(name);
        let fields = arguments.iter().map(|Argument { name, owned, .. }| {
            let doc = format!("The argument `{name}`.");
            quote!(#[doc = #doc] #name: #owned,)
        });
        let doc = format!("The method `{name}`.");
        quote! {
            #[doc = #doc]
            #(#attributes)*
            #variant {
                #(#fields)*
                /// For the reply.
                reply: ::peripatos::Reply<#output>,
            }
        }
    });
    let arms = methods.iter().map(|Method { number, name, arguments, .. }| {
        let variant = camel(name);
        let names: Vec<_> = arguments.iter().map(|argument| argument.name).collect();
        let types = arguments.iter().map(|argument| &argument.owned);
        quote! {
            #number => {
                if let ::core::option::Option::Some((#(#names,)*)) =
                    ::peripatos::typed::arguments::<(#(#types,)*)>(arguments)
                {
                    let reply = ::peripatos::Reply::new(message.caller);
                    return ::core::option::Option::Some(Self::#variant { #(#names,)* reply });
                }
            }
        }
    });
    quote! {
        #[doc = #doc]
        #[derive(Debug)]
        #[allow(dead_code, reason = "a server may not need it")]
        #visibility enum #name { #(#variants),* }

        #[allow(dead_code, reason = "a server may not need it")]
        impl #name {
            /// Of this message. `None`: it is none, and its sender has been told so.
            #public fn of(message: ::peripatos::Message<'_>) -> ::core::option::Option<Self> {
                let (method, arguments) = ::peripatos::typed::method(message.bytes);
                match method {
                    #(#arms)*
                    _ => {}
                }
                ::peripatos::typed::refuse(message.caller);
                ::core::option::Option::None
            }
        }
    }
}

/// As visible as the trait, and no more: what is private can be called by children of its module.
fn public(visibility: &Visibility) -> TokenStream {
    match visibility {
        Visibility::Inherited => quote!(pub(self)),
        visibility => quote!(#visibility),
    }
}

/// `take_both` -> `TakeBoth`.
fn camel(name: &Ident) -> Ident {
    let text = name.to_string();
    let words = text.trim_start_matches("r#").split('_').filter(|word| !word.is_empty());
    let capitalised = words.map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    });
    Ident::new(&capitalised.collect::<String>(), Span::call_site())
}
