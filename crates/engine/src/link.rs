//! What a module is offered: WASI preview 1 and, for a freezable one, the pass's own imports.
//!
//! A program's store is asynchronous, a handler's synchronous; the imports have the same types
//! either way.

use wasmtime::{Caller, Engine, ExternType, FuncType, ImportType, Linker, Module, Val, ValType};

use peripatos_abi::message;
use peripatos_instrument::NAMESPACE;

use crate::code::{CodeKind, Form};
use crate::engines::one_line;
use crate::state::State;
use crate::wasi::Parameter::{I32, I64};
use crate::wasi::{self, Function};
use crate::{LoadError, checks, handler, hostcalls, messages, references};

/// The functions that `module` imports, defined; or which of them nobody offers.
pub(crate) fn linker(
    engine: &Engine,
    module: &Module,
    form: Form,
    kind: CodeKind,
) -> Result<Linker<State>, LoadError> {
    let mut linker = Linker::new(engine);
    linker.allow_shadowing(true);
    // The pass's imports stand behind the program's own, so positions are those of the original.
    for (index, import) in module.imports().enumerate() {
        if import.module() == NAMESPACE && kind != CodeKind::Plain {
            continue;
        }
        if import.module() == message::MODULE {
            let expected = messages::signature(engine, import.name());
            of_type(&import, expected.ok_or_else(|| unknown(&import))?)?;
            messages::define(&mut linker, import.name(), index as u32, form).map_err(internal)?;
            continue;
        }
        let function = offered(engine, &import)?;
        system_call(&mut linker, function, index as u32, form).map_err(internal)?;
    }
    if kind != CodeKind::Plain {
        check(&mut linker, form).map_err(internal)?;
        reference_functions(&mut linker).map_err(internal)?;
    }
    Ok(linker)
}

/// The offered function of this name and type.
fn offered(engine: &Engine, import: &ImportType<'_>) -> Result<&'static Function, LoadError> {
    let name = import.name();
    let known = if import.module() == wasi::MODULE { wasi::find(name) } else { None };
    let function = known.ok_or_else(|| unknown(import))?;
    of_type(import, signature(engine, function))?;
    Ok(function)
}

fn unknown(import: &ImportType<'_>) -> LoadError {
    let (module, name) = (import.module().to_owned(), import.name().to_owned());
    LoadError::UnknownImport { module, name, kind: describe(&import.ty()) }
}

/// Whether an import has the type of what is offered.
fn of_type(import: &ImportType<'_>, expected: FuncType) -> Result<(), LoadError> {
    match import.ty() {
        ExternType::Func(found) if found.matches(&expected) => Ok(()),
        found => Err(LoadError::ImportType {
            module: import.module().to_owned(),
            name: import.name().to_owned(),
            found: describe(&found),
            expected: describe(&ExternType::Func(expected)),
        }),
    }
}

fn signature(engine: &Engine, function: &Function) -> FuncType {
    let parameters = function.parameters.iter().map(|parameter| match parameter {
        I32 => ValType::I32,
        I64 => ValType::I64,
    });
    let returns = !matches!(function.kind, wasi::Kind::Exit);
    FuncType::new(engine, parameters, returns.then_some(ValType::I32))
}

fn system_call(
    linker: &mut Linker<State>,
    function: &'static Function,
    import: u32,
    form: Form,
) -> wasmtime::Result<()> {
    let ty = signature(linker.engine(), function);
    let (module, name) = (wasi::MODULE, function.name);
    match form {
        // What programs call often has typed parameters: to check values one by one was a sixth of a clock reading.
        Form::Program => match function.parameters {
            [] => linker.func_wrap_async(module, name, move |caller, (): ()| {
                typed_call(caller, function, import, [])
            })?,
            [I32, I32] => {
                linker.func_wrap_async(module, name, move |caller, (a, b): (u32, u32)| {
                    typed_call(caller, function, import, [a, b].map(u64::from))
                })?
            }
            [I32, I64, I32] => linker.func_wrap_async(
                module,
                name,
                move |caller, (a, b, c): (u32, u64, u32)| {
                    typed_call(caller, function, import, [a.into(), b, c.into()])
                },
            )?,
            [I32, I32, I32, I32] => {
                type Words = (u32, u32, u32, u32);
                linker.func_wrap_async(module, name, move |caller, (a, b, c, d): Words| {
                    typed_call(caller, function, import, [a, b, c, d].map(u64::from))
                })?
            }
            _ => linker.func_new_async(module, name, ty, move |caller, params, results| {
                let words = hostcalls::words(params);
                Box::new(async move {
                    let result = hostcalls::call(caller, function, import, &words).await?;
                    if let [slot] = results {
                        *slot = Val::I32(result.into());
                    }
                    Ok(())
                })
            })?,
        },
        Form::Handler => linker.func_new(module, name, ty, move |caller, params, results| {
            handler::call(caller, function, import, params, results)
        })?,
    };
    Ok(())
}

fn typed_call<'a, const N: usize>(
    caller: Caller<'a, State>,
    function: &'static Function,
    import: u32,
    words: [u64; N],
) -> Box<dyn Future<Output = wasmtime::Result<u32>> + Send + 'a> {
    Box::new(async move { hostcalls::call(caller, function, import, &words).await.map(u32::from) })
}

fn check(linker: &mut Linker<State>, form: Form) -> wasmtime::Result<()> {
    match form {
        Form::Program => linker
            .func_wrap_async(NAMESPACE, "poll", |caller, (): ()| Box::new(checks::poll(caller)))?,
        Form::Handler => linker.func_wrap(NAMESPACE, "poll", handler::poll)?,
    };
    Ok(())
}

fn reference_functions(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Store<'a> = Caller<'a, State>;
    linker.func_wrap(NAMESPACE, "save_func", |store: Store<'_>, it| {
        references::save_func(store, it)
    })?;
    linker.func_wrap(NAMESPACE, "load_func", |store: Store<'_>, id| {
        references::load_func(store, id)
    })?;
    linker
        .func_wrap(NAMESPACE, "save_exn", |store: Store<'_>, it| references::save_exn(store, it))?;
    linker.func_wrap(NAMESPACE, "load_exn", |store: Store<'_>, handle| {
        references::load_exn(store, handle)
    })?;
    linker.func_wrap(NAMESPACE, "save_extern", |store: Store<'_>, it| {
        references::save_extern(store, it)
    })?;
    linker.func_wrap(NAMESPACE, "load_extern", |store: Store<'_>, handle| {
        references::load_extern(store, handle)
    })?;
    Ok(())
}

/// A type in words, as the text format would have it.
fn describe(ty: &ExternType) -> String {
    let list = |types: &mut dyn Iterator<Item = ValType>| {
        types.map(|ty| format!(" {ty}")).collect::<String>()
    };
    match ty {
        ExternType::Func(ty) => {
            let (params, results) = (list(&mut ty.params()), list(&mut ty.results()));
            let mut text = "func".to_owned();
            if !params.is_empty() {
                text += &format!(" (param{params})");
            }
            if !results.is_empty() {
                text += &format!(" (result{results})");
            }
            text
        }
        ExternType::Global(_) => "a global".to_owned(),
        ExternType::Table(_) => "a table".to_owned(),
        ExternType::Memory(_) => "a memory".to_owned(),
        ExternType::Tag(_) => "a tag".to_owned(),
    }
}

fn internal(error: wasmtime::Error) -> LoadError {
    LoadError::Compile(one_line(&error))
}
