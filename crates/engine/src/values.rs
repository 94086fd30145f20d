//! Values of globals, table elements and exception fields: into images and back.

use wasmtime::{ExnRef, ExnRefPre, ExnType, OwnedRooted, Ref, Rooted, Store, Tag, Val};

use crate::ImageError;
use crate::image::{ExceptionImage, Value};
use crate::references::{load_func, save_func};
use crate::state::{Hot, State};

const DAMAGED: ImageError = ImageError::Damaged("references");

/// Turns values into their image form, and gathers the exceptions they refer to.
pub(crate) struct Saver {
    tags: Vec<Tag>,
    /// Parents stand before their children.
    pub(crate) exceptions: Vec<ExceptionImage>,
    /// Exceptions whose fields have not been looked at; the last ones of `exceptions`.
    pending: Vec<OwnedRooted<ExnRef>>,
}

impl Saver {
    /// Begins with the exceptions that frames refer to.
    pub(crate) fn new(store: &mut Store<State>, hot: Hot) -> Result<Saver, ImageError> {
        let mut saver =
            Saver { tags: tags(store, hot), exceptions: Vec::new(), pending: Vec::new() };
        let roots: Vec<_> = store.data().exceptions.iter().map(|(h, e)| (h, e.clone())).collect();
        for (handle, exception) in roots {
            saver.add(handle, exception);
        }
        Ok(saver)
    }

    /// The image form of a value.
    pub(crate) fn value(
        &mut self,
        store: &mut Store<State>,
        value: &Val,
    ) -> Result<Value, ImageError> {
        Ok(match *value {
            Val::I32(value) => Value::I32(value as u32),
            Val::I64(value) => Value::I64(value as u64),
            Val::F32(bits) => Value::F32(bits),
            Val::F64(bits) => Value::F64(bits),
            Val::V128(value) => Value::V128(value.as_u128()),
            Val::FuncRef(func) => {
                Value::Func(save_func(store, func).map_err(|_| ImageError::HostReference)?)
            }
            Val::ExternRef(None) => Value::ExternNull,
            Val::ExnRef(None) => Value::Exn(0),
            Val::ExnRef(Some(exception)) => {
                let owned = exception.to_owned_rooted(store).map_err(host_reference)?;
                Value::Exn(self.add(0, owned))
            }
            _ => return Err(ImageError::HostReference),
        })
    }

    /// The image form of a table's element.
    pub(crate) fn element(
        &mut self,
        store: &mut Store<State>,
        element: Ref,
    ) -> Result<Value, ImageError> {
        self.value(store, &Val::from(element))
    }

    /// All exceptions, when all values have been seen.
    pub(crate) fn finish(
        mut self,
        store: &mut Store<State>,
    ) -> Result<Vec<ExceptionImage>, ImageError> {
        let mut at = 0;
        while at < self.pending.len() {
            let exception = self.pending[at].to_rooted(&mut *store);
            let tag = exception.tag(&mut *store).map_err(host_reference)?;
            let index = self.tags.iter().position(|other| Tag::eq(other, &tag, &*store));
            let index = index.ok_or(ImageError::HostReference)?;
            let fields: Vec<Val> = exception.fields(&mut *store).map_err(host_reference)?.collect();
            let fields: Result<_, _> =
                fields.iter().map(|field| self.value(store, field)).collect();
            self.exceptions[at].tag = index as u32;
            self.exceptions[at].fields = fields?;
            at += 1;
        }
        Ok(self.exceptions)
    }

    /// Position + 1 of an exception in the list.
    fn add(&mut self, handle: u32, exception: OwnedRooted<ExnRef>) -> u32 {
        self.exceptions.push(ExceptionImage { handle, tag: 0, fields: Vec::new() });
        self.pending.push(exception);
        self.exceptions.len() as u32
    }
}

fn host_reference(_: wasmtime::Error) -> ImageError {
    ImageError::HostReference
}

/// Turns image forms back into values.
pub(crate) struct Loader {
    exceptions: Vec<Option<OwnedRooted<ExnRef>>>,
}

impl Loader {
    /// Makes the exceptions of an image, and puts those that frames refer to under their handles.
    pub(crate) fn new(
        store: &mut Store<State>,
        hot: Hot,
        images: &[ExceptionImage],
    ) -> Result<Loader, ImageError> {
        let mut loader = Loader { exceptions: vec![None; images.len()] };
        if images.is_empty() {
            return Ok(loader);
        }
        let tags = tags(store, hot);
        // Children stand behind their parents, so they are made first.
        for (at, image) in images.iter().enumerate().rev() {
            let tag = tags.get(image.tag as usize).ok_or(DAMAGED)?;
            let exception = loader.exception(store, tag, image)?;
            let owned = exception.to_owned_rooted(&mut *store).map_err(|_| DAMAGED)?;
            if image.handle != 0 && !store.data_mut().exceptions.put(image.handle, owned.clone()) {
                return Err(DAMAGED);
            }
            loader.exceptions[at] = Some(owned);
        }
        Ok(loader)
    }

    /// The value of an image form.
    pub(crate) fn value(&self, store: &mut Store<State>, value: Value) -> Result<Val, ImageError> {
        Ok(match value {
            Value::I32(value) => Val::I32(value as i32),
            Value::I64(value) => Val::I64(value as i64),
            Value::F32(bits) => Val::F32(bits),
            Value::F64(bits) => Val::F64(bits),
            Value::V128(value) => Val::V128(value.into()),
            Value::Func(id) => Val::FuncRef(load_func(store, id).map_err(|_| DAMAGED)?),
            Value::ExternNull => Val::ExternRef(None),
            Value::Exn(0) => Val::ExnRef(None),
            Value::Exn(id) => {
                // A parent that names itself or an elder finds nothing here.
                let owned = self.exceptions.get(id as usize - 1).and_then(Option::as_ref);
                Val::ExnRef(Some(owned.ok_or(DAMAGED)?.to_rooted(store)))
            }
        })
    }

    fn exception(
        &self,
        store: &mut Store<State>,
        tag: &Tag,
        image: &ExceptionImage,
    ) -> Result<Rooted<ExnRef>, ImageError> {
        let fields: Result<Vec<Val>, ImageError> =
            image.fields.iter().map(|field| self.value(store, *field)).collect();
        let ty = ExnType::from_tag_type(&tag.ty(&*store)).map_err(|_| DAMAGED)?;
        let allocator = ExnRefPre::new(&mut *store, ty);
        // wasmtime checks the number and the types of the fields.
        ExnRef::new(store, &allocator, tag, &fields?).map_err(|_| DAMAGED)
    }
}

/// The program's tags, by index.
fn tags(store: &mut Store<State>, hot: Hot) -> Vec<Tag> {
    (0..)
        .map_while(|index| hot.instance.get_tag(&mut *store, &format!("peripatos.tag.{index}")))
        .collect()
}
