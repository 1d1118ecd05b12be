//! `ng wal salvage`: a log that opens, of a damaged one.

use super::Place;
use super::judge::{Judged, Lost};
use crate::cli::Failure;
use crate::cli::output::{print, write_json};
use ng_wal::recover::{Loss, Salvage, salvage};
use std::path::Path;

#[derive(Debug, serde::Serialize)]
struct Document {
    /// `salvaged`, or `finished` for the exchange of an interrupted one.
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<u64>,
    losses: Vec<Lost>,
    aside: String,
}

/// Answers 1 if records are gone, as `verify` did before.
pub(super) fn run(place: &Place) -> Result<u8, Failure> {
    let (document, text, code) = match salvage(&place.dir)? {
        Salvage::NotNeeded(verification) => {
            let judged = Judged::of(&verification);
            if !place.json {
                print(|out| writeln!(out, "nothing to salvage"))?;
            }
            return judged.tell(place.json);
        }
        Salvage::Finished { aside } => {
            let aside = aside.display().to_string();
            let text = format!("finished an interrupted salvage; the damaged files are in {aside}");
            let losses = Vec::new();
            (Document { outcome: "finished", kept: None, lost: None, losses, aside }, text, 0)
        }
        Salvage::Done(done) => {
            let losses: Vec<Lost> = done.losses.iter().map(Lost::from).collect();
            let lost: u64 = done.losses.iter().map(Loss::records).sum();
            let aside = done.aside.display().to_string();
            let mut text = format!("kept {} records; {lost} are lost", done.kept);
            losses.iter().for_each(|one| text.push_str(&format!("\n{}", one.words())));
            text.push_str(&format!("\nthe damaged files are in {aside}"));
            let code = u8::from(lost > 0);
            (
                Document { outcome: "salvaged", kept: Some(done.kept), lost: Some(lost), losses, aside },
                text,
                code,
            )
        }
    };
    if place.json {
        write_json(&document, Path::new("-"))?;
    } else {
        print(|out| writeln!(out, "{text}"))?;
    }
    Ok(code)
}
