//! The terms on which callers are served: what of `[serve]` is in force, and the secrets it names.
//!
//! They are looked at once a request or a connection, and replaced whole when the configuration is read
//! again; who has begun under the old ones may end under them.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use super::auth::Token;
use super::error::ServeError;
use super::tls::Tls;
use crate::config::{ServeConfig, StackConfig};
use crate::reload::{Part, Prepared};
use crate::stack::Overruled;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) config: ServeConfig,
    pub(super) token: Option<Token>,
    pub(super) tls: Option<Tls>,
}

impl Terms {
    /// Without any secret: to be replaced before anyone is let in.
    pub(super) const fn unread(config: ServeConfig) -> Self {
        Self { config, token: None, tls: None }
    }

    /// Reads the secrets that `config` names.
    fn load(config: ServeConfig) -> Result<Self, ServeError> {
        let token = Token::load(config.token_file.as_deref())?;
        let tls = Tls::load(&config)?;
        Ok(Self { config, token, tls })
    }
}

/// The terms in force.
#[derive(Debug, Clone)]
pub(super) struct InForce(Arc<RwLock<Arc<Terms>>>);

impl InForce {
    pub(super) fn new(terms: Terms) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(terms))))
    }

    pub(super) fn get(&self) -> Arc<Terms> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set(&self, terms: Terms) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(terms);
    }
}

/// Why a service without a certificate does not get one, and the other way round.
const TLS: &str = "whether TLS is spoken is settled at the start";

/// Puts `[serve]` in force in a running service.
#[derive(Debug, Clone)]
pub(super) struct Renewal {
    pub(super) in_force: InForce,
    /// The key and the address of a door beyond loopback, unless everyone is to write there.
    pub(super) guarded: Option<(&'static str, String)>,
}

impl Renewal {
    /// Terms under which the doors may be open.
    pub(super) fn load(&self, config: ServeConfig) -> Result<Terms, ServeError> {
        let terms = Terms::load(config)?;
        match &self.guarded {
            Some((key, given)) if terms.token.is_none() => {
                Err(ServeError::Open { key, given: given.clone() })
            }
            _ => Ok(terms),
        }
    }
}

impl Part for Renewal {
    fn files(&self, config: &StackConfig) -> Vec<PathBuf> {
        let serve = &config.serve;
        [&serve.token_file, &serve.tls_cert, &serve.tls_key].into_iter().flatten().cloned().collect()
    }

    fn prepare(&self, after: &StackConfig) -> Result<Prepared, String> {
        let now = self.in_force.get();
        let mut next = self.load(after.serve.clone()).map_err(|error| error.to_string())?;
        let mut overruled = Vec::new();
        if now.tls.is_some() != next.tls.is_some() {
            overruled.extend(
                ["serve.tls_cert", "serve.tls_key"].map(|key| Overruled { key: key.to_owned(), why: TLS }),
            );
            next.tls.clone_from(&now.tls);
        }
        let mut renewed = Vec::new();
        if now.tls != next.tls {
            renewed.push("the certificate");
        }
        if now.token != next.token {
            renewed.push("the token");
        }
        let in_force = self.in_force.clone();
        Ok(Prepared { overruled, renewed, commit: Box::new(move || in_force.set(next)) })
    }
}
