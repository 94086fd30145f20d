//! Why a module is not taken.

/// What went wrong; in every case nothing was produced and nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are not a WebAssembly module, or not a valid one. The module is to blame.
    #[error("not a valid WebAssembly module: {0}")]
    Invalid(String),
    /// A valid module that uses something this pass does not make freezable.
    #[error("{place}: {reason}")]
    Refused {
        /// The function (index, and name where the module has one) or the section.
        place: String,
        /// What it uses and, where there is one, the way around.
        reason: String,
    },
    /// A continuation was asked for a site that the program does not have: a damaged image.
    #[error("no site {0} in this program")]
    NoSuchSite(u32),
    /// The pass contradicts itself; a defect of the pass, not of the module.
    #[error("defect in the pass: {0}")]
    Internal(String),
}

impl Error {
    pub(crate) fn refused(place: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::Refused { place: place.into(), reason: reason.into() }
    }
}

impl From<wasmparser::Error> for Error {
    fn from(error: wasmparser::Error) -> Error {
        Error::Invalid(error.to_string())
    }
}

impl From<wasm_encoder::reencode::Error> for Error {
    fn from(error: wasm_encoder::reencode::Error) -> Error {
        Error::Internal(error.to_string())
    }
}
