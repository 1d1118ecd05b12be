//! A load of raw batches over HTTP, and what it came to: tokens a second, and how long a batch took
//! from its first byte to its answer.
//!
//! `cargo run --release --example http_load -- http://127.0.0.1:7700 [--connections 4] [--batch 10000]
//! [--tokens 10000000] [--not-durable]`. The service needs room: `guardian.max_tokens` and
//! `guardian.max_memory_bytes` above the tokens asked for.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "an example reports by printing")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

struct Asked {
    address: String,
    connections: usize,
    batch: u64,
    tokens: u64,
    durable: bool,
}

fn asked() -> Result<Asked, String> {
    let mut asked = Asked {
        address: "127.0.0.1:7700".to_owned(),
        connections: 4,
        batch: 10_000,
        tokens: 10_000_000,
        durable: true,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number =
            || words.next().and_then(|text| text.parse().ok()).ok_or(format!("{word} needs a number"));
        match &*word {
            "--connections" => asked.connections = usize::try_from(number()?).unwrap_or(1),
            "--batch" => asked.batch = number()?,
            "--tokens" => asked.tokens = number()?,
            "--not-durable" => asked.durable = false,
            address => address.trim_start_matches("http://").clone_into(&mut asked.address),
        }
    }
    Ok(asked)
}

/// One batch: 64 bytes a token, whose id the lane chooses.
fn body(batch: u64) -> Vec<u8> {
    let mut token = [0_u8; 64];
    token[4..8].copy_from_slice(&0.5_f32.to_le_bytes());
    token[8..12].copy_from_slice(&u32::MAX.wrapping_sub(1).to_le_bytes());
    token[12] = 1;
    token[14..16].copy_from_slice(&[100, 255]);
    token.repeat(usize::try_from(batch).unwrap())
}

fn run(asked: &Asked, left: &AtomicU64) -> std::io::Result<Vec<Duration>> {
    let stream = TcpStream::connect(&asked.address)?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    let body = body(asked.batch);
    let path = format!("/v1/tokens?format=bin&ids=any{}", if asked.durable { "&durable=true" } else { "" });
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    let request = [head.as_bytes(), &body].concat();
    let made = format!("\"made\":{},", asked.batch);
    let (mut took, mut line, mut answer) = (Vec::new(), String::new(), Vec::new());
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        let began = Instant::now();
        writer.write_all(&request)?;
        let (mut status, mut length) = (String::new(), 0);
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            if status.is_empty() {
                status.clone_from(&line);
            }
            if let Some(text) = line.strip_prefix("content-length: ") {
                length = text.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        answer.resize(length, 0);
        reader.read_exact(&mut answer)?;
        took.push(began.elapsed());
        let text = String::from_utf8_lossy(&answer);
        let sound = status.contains(" 200 ") && text.contains(&made);
        if !sound || (asked.durable && !text.contains("\"durable\":true")) {
            return Err(std::io::Error::other(format!("{status}{text}")));
        }
    }
    Ok(took)
}

fn main() -> Result<(), String> {
    let asked = asked()?;
    let batches = AtomicU64::new(asked.tokens / asked.batch);
    let began = Instant::now();
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..asked.connections).map(|_| scope.spawn(|| run(&asked, &batches))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let elapsed = began.elapsed();
    let mut took = Vec::new();
    for result in results {
        took.extend(result.map_err(|error| error.to_string())?);
    }
    took.sort_unstable();
    let quantile = |of: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index"
        )]
        let at = (of * took.len() as f64) as usize;
        took[at.min(took.len() - 1)].as_secs_f64() * 1e3
    };
    let tokens = took.len() as u64 * asked.batch;
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = tokens as f64 / elapsed.as_secs_f64() / 1e6;
    println!(
        "{tokens} tokens in {:.0} ms over {} connections, batches of {}{}: {rate:.2}M tokens/s; a batch took \
         {:.2} ms (p50), {:.2} ms (p99), {:.2} ms (longest)",
        elapsed.as_secs_f64() * 1e3,
        asked.connections,
        asked.batch,
        if asked.durable { ", each durable" } else { "" },
        quantile(0.5),
        quantile(0.99),
        quantile(1.0),
    );
    Ok(())
}
