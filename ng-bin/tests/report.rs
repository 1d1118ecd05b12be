//! Pictures of the stress document: the published ones are what the published documents make, and a run
//! makes a page that a browser reads.
#![cfg(all(
    feature = "cli",
    feature = "wal",
    feature = "guardian",
    feature = "telemetry",
    feature = "blackbox"
))]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::path::Path;
use std::process::Command;

use ng_stack::report::{charts::charts, figures, html, svg};

fn published() -> (std::path::PathBuf, figures::Stress, figures::Rivals) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/charts");
    let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let stress = figures::stress(&text("stress.json"), "stress.json").unwrap();
    let rivals = figures::rivals(&text("rivals.json"), "rivals.json").unwrap();
    (folder, stress, rivals)
}

#[test]
fn the_published_charts_are_those_of_the_published_documents() {
    let (folder, stress, rivals) = published();
    let charts = charts(&stress, Some(&rivals));
    assert!(charts.len() >= 5);
    for chart in charts {
        let path = folder.join(format!("{}.svg", chart.name));
        let drawn = svg(&chart).unwrap();
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            there == drawn,
            "{} is not what its document makes: run `cargo xtask report`",
            path.display()
        );
    }
}

#[test]
fn the_page_of_the_published_documents_has_every_chart_and_its_figures() {
    let (_, stress, rivals) = published();
    let page = html(&stress, Some(&rivals)).unwrap();
    for name in ["runs", "rivals", "ablation", "disk", "memory", "budgets"] {
        assert_eq!(page.matches(&format!("<section id=\"{name}\"")).count(), 1, "{name}");
    }
    assert_eq!(page.matches("<figure>").count(), page.matches("<details>").count());
    assert!(page.contains("417,843 ms") && page.contains("266,664 ms") && page.contains("v0.44.1"));
    // Ids are links' targets, and once each.
    let mut ids: Vec<&str> = page.split(" id=\"").skip(1).map(|it| it.split('"').next().unwrap()).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all);
}

#[test]
fn a_stress_run_writes_its_page_and_says_each_stage_without_a_bar() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ng"))
        .current_dir(dir.path())
        .args(["stress", "--tokens", "20000", "--rounds", "1", "--json", "-", "--html", "page.html"])
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert!(
        stderr.contains("stress: ablation") && !stderr.contains('\r') && !stderr.contains('\x1b'),
        "{stderr}"
    );
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(document["full_every_token"]["durable_p99_us"].as_f64().unwrap() > 0.0);
    assert_eq!(document["baseline"]["durable_max_us"], 0.0);
    let page = std::fs::read_to_string(dir.path().join("page.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    for section in ["runs", "ablation", "disk", "latency", "memory"] {
        assert!(page.contains(&format!("<section id=\"{section}\"")), "no {section}");
    }
}

#[test]
fn words_that_make_no_picture_are_refused_and_so_is_a_file_that_is_none() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.json"), "{\"rows\": []}").unwrap();
    let run = |words: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_ng")).current_dir(dir.path()).args(words).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(run(&["report", "a.json"]).0, Some(64));
    assert_eq!(run(&["stress", "--json", "-", "--html", "-"]).0, Some(64));
    let (code, said) = run(&["report", "a.json", "--html", "-"]);
    assert!(code == Some(74) && said.contains("a.json"), "{said}");
    assert_eq!(run(&["report", "gone.json", "--html", "-"]).0, Some(74));
}
