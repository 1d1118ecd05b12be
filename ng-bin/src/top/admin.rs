//! The admin address of `ng serve`: `GET /v1/live`, over plain HTTP.

use std::time::Duration;

use serde_json::Value;
use ureq::Agent;

use super::live::Live;
use super::source::{Source, SourceError};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// The largest answer that is read.
const MOST: u64 = 4 << 20;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Admin {
    agent: Agent,
    url: String,
    token: Option<String>,
}

impl Admin {
    /// Of an address such as `127.0.0.1:9464`, with or without `http://` before it.
    pub(crate) fn new(address: &str, token: Option<String>) -> Self {
        let address = address.trim_end_matches('/');
        let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let config = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            // What is asked is on this machine, or was named: no proxy stands between.
            .proxy(None)
            .build();
        Self { agent: config.into(), url: format!("{url}/v1/live"), token }
    }

    fn ask(&self) -> Result<Value, SourceError> {
        let url = || self.url.clone();
        let mut request = self.agent.get(&self.url);
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let mut answer =
            request.call().map_err(|error| SourceError::Silent { url: url(), why: error.to_string() })?;
        match answer.status().as_u16() {
            200 => {}
            401 | 403 => return Err(SourceError::Token { url: url() }),
            status => return Err(SourceError::Answer { url: url(), what: format!("status {status}") }),
        }
        let text = answer
            .body_mut()
            .with_config()
            .limit(MOST)
            .read_to_string()
            .map_err(|error| SourceError::Silent { url: url(), why: error.to_string() })?;
        serde_json::from_str(&text)
            .map_err(|error| SourceError::Answer { url: url(), what: format!("no JSON: {error}") })
    }
}

impl Source for Admin {
    fn name(&self) -> String {
        self.url.trim_end_matches("/v1/live").trim_start_matches("http://").to_owned()
    }

    fn poll(&mut self) -> Result<Live, SourceError> {
        let document = self.ask()?;
        serde_json::from_value(document).map_err(|error| SourceError::Answer {
            url: self.url.clone(),
            what: format!("another document: {error}"),
        })
    }

    fn document(&mut self) -> Result<Value, SourceError> {
        self.ask()
    }
}
