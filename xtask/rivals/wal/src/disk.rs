//! What the disk itself can do in the same minute: as many bytes as the records have, in blocks of
//! 1 MiB, past the page cache, each durable by itself, four at once, over a file that was written
//! before.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Instant;

const BLOCK: usize = 1 << 20;
const ALIGNMENT: usize = 4_096;
const AT_ONCE: u64 = 4;

/// MB (10⁶ bytes) a second.
#[allow(clippy::cast_precision_loss, reason = "bytes of a run")]
pub(crate) fn sequential_mb_s(dir: &Path, bytes: u64) -> Result<f64, String> {
    let path = dir.join("sequential");
    let blocks = bytes.div_ceil(BLOCK as u64).next_multiple_of(AT_ONCE);
    let prepare = || -> std::io::Result<File> {
        let file = File::create(&path)?;
        let zeros = vec![0; BLOCK];
        for block in 0..blocks {
            file.write_all_at(&zeros, block * BLOCK as u64)?;
        }
        file.sync_all()?;
        OpenOptions::new().write(true).custom_flags(libc::O_DIRECT | libc::O_DSYNC).open(&path)
    };
    let file = prepare().map_err(|error| format!("{}: {error}", path.display()))?;
    let began = Instant::now();
    let written: std::io::Result<()> = std::thread::scope(|scope| {
        let threads = (0..AT_ONCE).map(|thread| {
            let file = &file;
            scope.spawn(move || {
                let memory = vec![0x5a_u8; BLOCK + ALIGNMENT];
                let start = memory.as_ptr().align_offset(ALIGNMENT);
                let aligned = memory.get(start..start + BLOCK).unwrap_or_default();
                for block in (thread..blocks).step_by(AT_ONCE as usize) {
                    file.write_all_at(aligned, block * BLOCK as u64)?;
                }
                Ok(())
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(std::io::Error::other("a writer panicked")))
        })
    });
    written.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(blocks as f64 * BLOCK as f64 / 1e6 / began.elapsed().as_secs_f64())
}
