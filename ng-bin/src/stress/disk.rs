//! What the disk can do in the same minute: sequential writes of 1 MiB over a file that was
//! written before, one `fdatasync` at the end.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use super::StressError;

const BLOCK: usize = 1 << 20;
const BLOCKS: u64 = 256;

/// MB (10⁶ bytes) a second.
pub(super) fn sequential_mb_s(dir: &Path) -> Result<f64, StressError> {
    let path = dir.join("sequential");
    let failed = |source| StressError::Io { what: format!("write {}", path.display()), source };
    let file = File::create(&path).map_err(failed)?;
    let block = vec![0x5a_u8; BLOCK];
    let write = || -> std::io::Result<()> {
        for i in 0..BLOCKS {
            file.write_all_at(&block, i * BLOCK as u64)?;
        }
        file.sync_data()
    };
    write().map_err(failed)?;
    let began = Instant::now();
    write().map_err(failed)?;
    let seconds = began.elapsed().as_secs_f64();
    std::fs::remove_file(&path).map_err(failed)?;
    #[expect(clippy::cast_precision_loss, reason = "256 MiB")]
    let bytes = (BLOCKS * BLOCK as u64) as f64;
    Ok(bytes / 1e6 / seconds)
}
