//! One TOML file, a profile and the environment become a [`StackConfig`]: plain data that says
//! what the stack shall be.
//!
//! Nothing here opens a log, makes a directory or starts a thread, and nothing here knows a layer's
//! crate: the same text gives the same configuration whatever is compiled in, save that a layer
//! that is missing is off by default and may not be asked for.
//!
//! Every key is declared once, in `sections.rs`: its type, range, default and text. Reading, the
//! environment's names, `ng config default`, the JSON Schema, and docs/configuration.md all follow
//! from that table.

mod choice;
mod cross;
mod diff;
mod document;
mod durable;
mod explain;
mod features;
mod finding;
mod input;
mod jaeger;
mod load;
mod loaded;
mod named;
mod named_rules;
mod place;
mod print;
mod profile;
mod reference;
mod scalar;
mod schema;
mod sections;
mod setting;
mod suggest;
mod table;
mod variables;

pub use choice::{Featured, Name};
pub use diff::Difference;
pub use explain::{Explanation, NoSuchKey};
pub use features::{Features, Layer};
pub use finding::{ConfigErrors, EX_CONFIG, Finding, Severity};
pub use load::Loader;
pub use loaded::{Loaded, Origin, SettingOrigin};
pub use named::{NamedQuotas, QuotaConfig};
pub use place::{Excerpt, Place};
pub use print::render_default;
pub use profile::Profile;
pub use reference::render_reference;
pub use scalar::Scalar;
pub use schema::render_schema;
pub use sections::{
    BlackboxConfig, BlackboxKind, CleanupPolicy, ConstitutionConfig, EngineConfig, GuardianConfig,
    GuardianKind, LogConfig, LogFormat, LogLevel, MetricsConfig, MetricsKind, OnFailure, OnFull, OnMaxLog,
    OtlpProtocol, ServeConfig, SpanExporter, StackConfig, TracingConfig, TracingKind, WalBackend, WalConfig,
    WalKind, WalMode,
};
