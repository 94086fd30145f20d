//! Imports of a script's modules: from each other, and from `spectest`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use peripatos_instrument::NAMESPACE;
use wasmtime::{
    Extern, ExternType, Func, FuncType, Global, GlobalType, Memory, MemoryType, Module, Mutability,
    Ref, RefType, Store, Table, TableType, Val, ValType,
};

use super::{Failure, Mode, Runner, Target};
use crate::host::{self, GuestId, Host};

/// Which instantiations can reach functions of each other without calling through an import.
#[derive(Default)]
pub(super) struct Meetings {
    /// Who imports something that can hold functions, by its owner; `None`: spectest.
    users: BTreeMap<Option<usize>, BTreeSet<usize>>,
}

impl Meetings {
    pub(super) fn meeting(self) -> BTreeSet<usize> {
        let several = |(owner, users): (Option<usize>, BTreeSet<usize>)| {
            let all = users.into_iter().chain(owner).collect::<BTreeSet<_>>();
            (all.len() > 1).then_some(all)
        };
        self.users.into_iter().filter_map(several).flatten().collect()
    }
}

impl Runner<'_> {
    /// What `module` imports, in order, without what the pass added.
    pub(super) fn imports(
        &mut self,
        module: &Module,
        number: usize,
    ) -> Result<Vec<Extern>, Failure> {
        let imports = module.imports().filter(|import| import.module() != NAMESPACE);
        imports.map(|import| self.import(import.module(), import.name(), number)).collect()
    }

    fn import(&mut self, module: &str, name: &str, number: usize) -> Result<Extern, Failure> {
        let missing = || Failure::Ended(wasmtime::Error::msg(format!("no {module}.{name}")));
        if module == "spectest" {
            let found = self.spectest.get(name).ok_or_else(missing)?.clone();
            if holds_functions(&found.ty(&self.store)) {
                self.tables.users.entry(None).or_default().insert(number);
            }
            return Ok(found);
        }
        let target = *self.registered.get(module).ok_or_else(missing)?;
        if let Target::Absent(reason) = target {
            return Err(Failure::Skip(reason));
        }
        let found = self.export(target, name).ok_or_else(missing)?;
        let Target::Guest { id, number: owner } = target else { return Ok(found) };
        if holds_functions(&found.ty(&self.store)) {
            self.tables.users.entry(Some(owner)).or_default().insert(number);
        }
        match found {
            Extern::Func(function) if self.mode == Mode::Forced => {
                Ok(Extern::Func(wrapper(&mut self.store, id, function)))
            }
            other => Ok(other),
        }
    }
}

fn holds_functions(ty: &ExternType) -> bool {
    match ty {
        ExternType::Table(ty) => ty.element().heap_type().is_func(),
        ExternType::Global(ty) => ty.content().as_ref().is_some_and(|ty| ty.heap_type().is_func()),
        _ => false,
    }
}

/// A host function that runs a guest's function to its end, however often it freezes.
fn wrapper(store: &mut Store<Host>, id: GuestId, function: Func) -> Func {
    let ty = function.ty(&*store);
    Func::new(store, ty, move |caller, args, results| {
        let returned = host::call(caller, id, function, args)?;
        results.copy_from_slice(&returned);
        Ok(())
    })
}

/// The host module that the specification's scripts import.
pub(super) fn spectest(store: &mut Store<Host>) -> HashMap<&'static str, Extern> {
    let mut found = HashMap::new();
    let prints: [(&'static str, &[ValType]); 7] = [
        ("print", &[]),
        ("print_i32", &[ValType::I32]),
        ("print_i64", &[ValType::I64]),
        ("print_f32", &[ValType::F32]),
        ("print_f64", &[ValType::F64]),
        ("print_i32_f32", &[ValType::I32, ValType::F32]),
        ("print_f64_f64", &[ValType::F64, ValType::F64]),
    ];
    for (name, params) in prints {
        let ty = FuncType::new(store.engine(), params.iter().cloned(), []);
        found.insert(name, Func::new(&mut *store, ty, |_, _, _| Ok(())).into());
    }
    let globals = [
        ("global_i32", Val::I32(666)),
        ("global_i64", Val::I64(666)),
        ("global_f32", Val::F32(666.6f32.to_bits())),
        ("global_f64", Val::F64(666.6f64.to_bits())),
    ];
    for (name, value) in globals {
        let ty = value.ty(&*store).expect("a number has a type");
        let ty = GlobalType::new(ty, Mutability::Const);
        found.insert(name, Global::new(&mut *store, ty, value).expect("of its type").into());
    }
    let tables = [
        ("table", TableType::new(RefType::FUNCREF, 10, Some(20))),
        ("table64", TableType::new64(RefType::FUNCREF, 10, Some(20))),
    ];
    for (name, ty) in tables {
        let table = Table::new(&mut *store, ty, Ref::Func(None)).expect("a small table");
        found.insert(name, table.into());
    }
    let memory = Memory::new(&mut *store, MemoryType::new(1, Some(2))).expect("a small memory");
    found.insert("memory", memory.into());
    found
}
