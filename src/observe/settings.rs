//! `logging:` in the configuration.

/// What the log looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Logging {
    /// Layout.
    pub format: Format,
    /// Least level that is written.
    pub level: Level,
    /// What becomes of telephone numbers.
    pub numbers: Numbers,
}

/// `format:`
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Text,
    Json,
}

/// `level:`
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// `numbers:` how telephone numbers stand in the log (CDRs always have them whole: they are for billing).
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numbers {
    #[default]
    Last4Digits,
    Full,
    None,
}
