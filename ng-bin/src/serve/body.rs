//! A request's body in pieces: decompressed, bounded in size, and given up when it stops coming.
//!
//! A piece is at most [`PIECE`] and one read longer, whatever a compressed body expands to. The
//! bytes of a plain body are never copied.

use std::io::Write;
use std::time::Duration;

use flate2::write::MultiGzDecoder;
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use hyper::{HeaderMap, StatusCode};
use tokio::time::Instant;

use super::answer::Problem;
use super::counters::{Counters, up};

/// Bytes after which a piece is handed on.
pub(super) const PIECE: usize = 256 << 10;

/// Compressed bytes given to the decoder at once, which writes at most 32 KiB for them.
const SIP: usize = 16 << 10;

/// What a body may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimits {
    /// Bytes, after decompression.
    pub(super) most: u64,
    /// Without a byte.
    pub(super) stall: Duration,
    /// For the whole.
    pub(super) whole: Duration,
}

/// A body under way.
pub(super) struct Pieces<'c> {
    body: Incoming,
    gzip: Option<Box<MultiGzDecoder<Vec<u8>>>>,
    /// Compressed bytes that were not decoded yet.
    waiting: Bytes,
    limits: BodyLimits,
    until: Instant,
    read: u64,
    counters: &'c Counters,
}

impl<'c> Pieces<'c> {
    /// A body as its headers announce it.
    ///
    /// # Errors
    /// 413 for one that says that it is too large, 415 for an encoding that is not known.
    pub(super) fn new(
        body: Incoming,
        headers: &HeaderMap,
        limits: BodyLimits,
        counters: &'c Counters,
    ) -> Result<Self, Problem> {
        let encoding = headers.get(CONTENT_ENCODING).map_or(Ok("identity"), |value| value.to_str());
        let gzip = match encoding.map(|name| name.trim().to_ascii_lowercase()).as_deref() {
            Ok("gzip" | "x-gzip") => Some(Box::new(MultiGzDecoder::new(Vec::new()))),
            Ok("identity" | "") => None,
            _ => {
                let message = "the body's Content-Encoding must be gzip or none";
                return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_encoding", message));
            }
        };
        let said = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if said.is_some_and(|said| said > limits.most) {
            return Err(too_large(limits.most));
        }
        let until = Instant::now() + limits.whole;
        Ok(Self { body, gzip, waiting: Bytes::new(), limits, until, read: 0, counters })
    }

    /// The next piece, and whether it is the last; the last may be empty.
    ///
    /// # Errors
    /// 400, 408 and 413; what came before is lost to no one but this piece.
    pub(super) async fn next(&mut self) -> Result<(Vec<Bytes>, bool), Problem> {
        let (mut piece, mut len) = (Vec::new(), 0);
        while len < PIECE {
            let Some(bytes) = self.chunk().await? else { return Ok((piece, true)) };
            self.read += bytes.len() as u64;
            if self.read > self.limits.most {
                return Err(too_large(self.limits.most));
            }
            len += bytes.len();
            if !bytes.is_empty() {
                piece.push(bytes);
            }
            if self.gzip.is_none() && self.body.is_end_stream() {
                return Ok((piece, true));
            }
        }
        Ok((piece, false))
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, Problem> {
        if self.gzip.is_none() {
            return self.frame().await;
        }
        if self.waiting.is_empty() {
            match self.frame().await? {
                Some(bytes) => self.waiting = bytes,
                None => return self.gzip_end(),
            }
        }
        let Some(decoder) = &mut self.gzip else { return Ok(None) };
        let sip = &self.waiting[..self.waiting.len().min(SIP)];
        let taken = decoder.write(sip).map_err(|error| bad_gzip(&error))?;
        if taken == 0 && !sip.is_empty() {
            return Err(bad_gzip(&"it does not go on"));
        }
        let _ = self.waiting.split_to(taken);
        Ok(Some(std::mem::take(decoder.get_mut()).into()))
    }

    /// The last of what the decoder held, once; then the end.
    fn gzip_end(&mut self) -> Result<Option<Bytes>, Problem> {
        let Some(mut decoder) = self.gzip.take() else { return Ok(None) };
        decoder.try_finish().map_err(|error| bad_gzip(&error))?;
        Ok(Some(std::mem::take(decoder.get_mut()).into()))
    }

    async fn frame(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let stall = (Instant::now() + self.limits.stall).min(self.until);
            let frame = tokio::time::timeout_at(stall, self.body.frame()).await.map_err(|_| {
                let message = format!(
                    "the body stopped coming for {:?} or took more than {:?}",
                    self.limits.stall, self.limits.whole
                );
                Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message)
            })?;
            match frame {
                None => return Ok(None),
                Some(Err(error)) => {
                    let message = format!("the body broke off: {error}");
                    return Err(Problem::new(StatusCode::BAD_REQUEST, "body_broken", message));
                }
                // Trailers say nothing here.
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        up(&self.counters.body_bytes, bytes.len() as u64);
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }

    /// Reads what is left, up to a MiB and for a second, so that an answer which comes before the
    /// body's end is not lost to a reset connection.
    pub(super) async fn drain(&mut self) {
        let mut left = 1_usize << 20;
        let all = async {
            while let Some(Ok(frame)) = self.body.frame().await {
                left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
                if left == 0 {
                    return;
                }
            }
        };
        drop(tokio::time::timeout(Duration::from_secs(1), all).await);
    }
}

fn too_large(most: u64) -> Problem {
    let message = format!("the body has more than {most} bytes (serve.max_body_mib): send it in parts");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
}

fn bad_gzip(why: &dyn std::fmt::Display) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_gzip", format!("the body is not sound gzip: {why}"))
}
