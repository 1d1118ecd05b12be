//! Who is let in: the token, where it comes from, and where it must be brought.
//!
//! It is compared in constant time, and never shown.

use std::path::Path;

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use subtle::ConstantTimeEq;

use super::error::ServeError;

/// The variable that holds the token.
pub(super) const VARIABLE: &str = "NEUROGRAPH_TOKEN";

/// The least length of a token.
const LEAST: usize = 16;

/// A secret that callers bring. `==` is for two that were read; what callers show is for [`shown`].
#[derive(PartialEq, Eq)]
pub(super) struct Token(Vec<u8>);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// What a caller showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// No token, or there is none to show.
    Nothing,
    /// The right one.
    Right,
    /// Another one, or something that is none.
    Wrong,
}

impl Token {
    /// The token in `file`, else in the environment; `None` if neither is given.
    pub(super) fn load(file: Option<&Path>) -> Result<Option<Self>, ServeError> {
        let (text, from) = match file {
            Some(path) => {
                let from = format!("serve.token_file {}", path.display());
                match std::fs::read_to_string(path) {
                    Ok(text) => (text, from),
                    Err(error) => return Err(ServeError::Token { from, why: error.to_string() }),
                }
            }
            None => match std::env::var(VARIABLE) {
                Ok(text) => (text, format!("the variable {VARIABLE}")),
                Err(std::env::VarError::NotPresent) => return Ok(None),
                Err(error) => {
                    return Err(ServeError::Token { from: VARIABLE.to_owned(), why: error.to_string() });
                }
            },
        };
        Self::check(text.trim()).map(Some).map_err(|why| ServeError::Token { from, why })
    }

    fn check(text: &str) -> Result<Self, String> {
        if text.len() < LEAST {
            return Err(format!(
                "it has {} characters: write {LEAST} or more, such as from `openssl rand -hex 32`",
                text.len()
            ));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("it has characters that no header carries: write letters and digits".to_owned());
        }
        Ok(Self(text.as_bytes().to_vec()))
    }

    fn is(&self, shown: &[u8]) -> bool {
        self.0.ct_eq(shown).into()
    }
}

/// What a request's `Authorization` shows.
pub(super) fn shown(token: Option<&Token>, headers: &HeaderMap) -> Shown {
    let Some(token) = token else { return Shown::Nothing };
    let Some(value) = headers.get(AUTHORIZATION) else { return Shown::Nothing };
    let value = value.as_bytes();
    let scheme = b"bearer ";
    let is_bearer = value.len() > scheme.len() && value[..scheme.len()].eq_ignore_ascii_case(scheme);
    if is_bearer && token.is(value[scheme.len()..].trim_ascii()) { Shown::Right } else { Shown::Wrong }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_token_is_right() {
        let token = Token::check("0123456789abcdef").unwrap();
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            shown(Some(&token), &headers)
        };
        assert_eq!(with("Bearer 0123456789abcdef"), Shown::Right);
        assert_eq!(with("bearer  0123456789abcdef "), Shown::Right);
        for wrong in
            ["Bearer 0123456789abcdeF", "Bearer 0123456789abcde", "Basic 0123456789abcdef", "Bearer "]
        {
            assert_eq!(with(wrong), Shown::Wrong, "{wrong}");
        }
        assert_eq!(shown(Some(&token), &HeaderMap::new()), Shown::Nothing);
        assert_eq!(format!("{token:?}"), "Token(…)");
    }

    #[test]
    fn a_token_that_could_be_guessed_or_not_be_sent_is_refused() {
        assert!(Token::check("short").is_err());
        assert!(Token::check("sixteen letters!").is_err());
        assert!(Token::check("sechzehnzeichenä").is_err());
    }
}
