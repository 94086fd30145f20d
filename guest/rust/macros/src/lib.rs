//! The attributes of the crate `peripatos`, which documents them.

mod service;

use proc_macro::TokenStream;
use quote::quote;
use syn::{ItemFn, ItemTrait, parse_macro_input};

/// Makes typed calls of a trait: processes that have it can be called by others as if they were objects.
///
/// The trait's methods take `&self` or `&mut self` and arguments that serde knows, or references to such; what they give
/// back is owned. Of a trait `Adder` the attribute makes
///
/// * `AdderClient`, a pid with the trait's methods, each giving a `Result<_, peripatos::Error>`. It is `Copy` and can be
///   sent to others;
/// * what `peripatos::handler!(Adder, new)` and `peripatos::serve::<dyn Adder, _>(service)` need;
/// * `AdderRequest`, an enum of the calls with their arguments and a `peripatos::Reply` each, for a server that replies
///   later: `AdderRequest::of(message)`.
///
/// ```
/// #[peripatos::service]
/// pub trait Adder {
///     /// Adds.
///     fn add(&mut self, a: i64, b: i64) -> i64;
/// }
///
/// fn ask(adder: AdderClient) -> Result<(), peripatos::Error> {
///     println!("{}", adder.add(2, 3)?);
///     Ok(())
/// }
/// ```
#[proc_macro_attribute]
pub fn service(arguments: TokenStream, item: TokenStream) -> TokenStream {
    if !arguments.is_empty() {
        return error("#[service] takes nothing");
    }
    let item = parse_macro_input!(item as ItemTrait);
    service::expand(&item).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// For the `main` of a program that uses `peripatos::spawn_fn`: a process that was made for a function runs that, and not
/// `main`.
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    if !arguments.is_empty() {
        return error("#[main] takes nothing");
    }
    let ItemFn { attrs, vis, sig, block, .. } = parse_macro_input!(item as ItemFn);
    quote! {
        #(#attrs)*
        #vis #sig {
            if ::peripatos::begin() {
                ::std::process::exit(0);
            }
            #block
        }
    }
    .into()
}

fn error(message: &str) -> TokenStream {
    quote!(::std::compile_error!(#message);).into()
}
