//! One page with every chart and its figures: nothing is fetched, and no script is in it.

use std::fmt::Write;

use super::ReportError;
use super::charts::{Chart, charts, number};
use super::draw::{escaped, svg};
use super::figures::{Budget, Rivals, Stress};
use super::seed;

const STYLE: &str = include_str!("page.css");

/// The page.
///
/// # Errors
/// [`ReportError::Draw`].
pub fn html(stress: &Stress, rivals: Option<&Rivals>) -> Result<String, ReportError> {
    let charts = charts(stress, rivals);
    let mut page = String::new();
    let machine = &stress.machine;
    // A string takes all that is written.
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         img-src data:\">\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <title>NeuroGraph: stress report</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<h1>Stress report</h1>\n<p>{} tokens in each run, {} thread(s), {} rounds; {}, {} cores, Linux {}, \
         {}.</p>\n</header>\n<nav aria-label=\"Charts\"><ul>",
        count(stress.tokens),
        stress.threads,
        stress.rounds,
        escaped(&machine.cpu),
        machine.cores,
        escaped(&machine.kernel),
        escaped(&machine.filesystem),
    );
    for chart in &charts {
        let _ = write!(page, "<li><a href=\"#{}\">{}</a></li>", chart.name, escaped(&chart.title));
    }
    page += "<li><a href=\"#budgets\">Budgets</a></li></ul></nav>\n<main>\n";
    for chart in &charts {
        section(&mut page, chart)?;
    }
    budgets(&mut page, &stress.budgets);
    let _ = write!(
        page,
        "</main>\n<footer><p>{} Absolute figures hold for one machine and one hour.</p></footer>\n</body>\n</html>\n",
        escaped(seed::SOURCE)
    );
    Ok(page)
}

#[expect(clippy::cast_precision_loss, reason = "tokens of a run")]
fn count(of: u64) -> String {
    number(of as f64)
}

fn section(page: &mut String, chart: &Chart) -> Result<(), ReportError> {
    let (name, title) = (chart.name, escaped(&chart.title));
    let _ = write!(
        page,
        "<section id=\"{name}\" aria-labelledby=\"{name}-h\">\n<h2 id=\"{name}-h\">{title}</h2>\n<p>{}</p>\n\
         <figure>\n{}</figure>\n<details>\n<summary>The figures</summary>\n<table>\n<caption>{title}</caption>\n\
         <thead><tr><th scope=\"col\">What</th><th scope=\"col\">{unit}</th><th scope=\"col\">From</th>\
         <th scope=\"col\">To</th></tr></thead>\n<tbody>\n",
        escaped(&chart.note),
        svg(chart)?,
        unit = chart.unit,
    );
    for bar in &chart.bars {
        let (from, to) = bar
            .spread
            .map_or_else(|| ("–".to_owned(), "–".to_owned()), |(low, high)| (number(low), number(high)));
        let _ = writeln!(
            page,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{from}</td><td>{to}</td></tr>",
            escaped(&bar.label),
            number(bar.value)
        );
    }
    *page += "</tbody>\n</table>\n</details>\n</section>\n";
    Ok(())
}

fn budgets(page: &mut String, budgets: &[Budget]) {
    let held = budgets.iter().filter(|budget| budget.holds).count();
    let _ = write!(
        page,
        "<section id=\"budgets\" aria-labelledby=\"budgets-h\">\n<h2 id=\"budgets-h\">Budgets</h2>\n\
         <p>{held} of {} hold.</p>\n<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-labelledby=\"budgets-h\">\n\
         <table>\n<caption>What is bounded, by its name in the document</caption>\n<thead><tr><th scope=\"col\">Budget</th>\
         <th scope=\"col\">Measured</th><th scope=\"col\">Bound</th><th scope=\"col\">Verdict</th></tr></thead>\n<tbody>\n",
        budgets.len()
    );
    for budget in budgets {
        let _ = writeln!(
            page,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{} {}</td><td class=\"{}\">{}</td></tr>",
            escaped(&budget.name),
            number(budget.measured),
            if budget.at_most { "at most" } else { "at least" },
            number(budget.bound),
            if budget.holds { "held" } else { "broken" },
            if budget.holds { "✓ held" } else { "✕ broken" },
        );
    }
    *page += "</tbody>\n</table>\n</div>\n</section>\n";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures;

    const DOCUMENT: &str = r#"{"tokens": 200000, "rounds": 2, "machine": {"cpu": "<script>alert(1)</script>"},
        "baseline": {"wall_ms": 10.0, "wall_spread_ms": {"median": 10.0, "lower": 9.0, "upper": 11.0}},
        "layers": {"wal": {"alone_ns": 1.0, "removed_ns": 2.0, "spread_ns": 3.0, "verdict": "inconclusive"}},
        "budgets": [{"name": "baseline.ns_per_token", "measured": 5.0, "bound": 4.0, "at_most": true, "holds": false}]}"#;

    #[test]
    fn what_a_document_has_is_shown_and_what_it_does_not_have_is_left_out() {
        let stress = figures::stress(DOCUMENT, "a.json").unwrap();
        let page = html(&stress, None).unwrap();
        for shown in ["475 ms", "417,843 ms", "284,417", "2.00 ns, inconclusive", "✕ broken", "0 of 1 hold"]
        {
            assert!(page.contains(shown), "no {shown:?}");
        }
        assert!(
            !page.contains("id=\"memory\"")
                && !page.contains("id=\"disk\"")
                && !page.contains("id=\"latency\"")
        );
        assert!(
            page.contains("scaled up to 9,500,000"),
            "fewer tokens are not put beside the seed's without a word"
        );
        // Nothing is fetched, nothing runs, and what a machine calls itself is text.
        assert!(!page.contains("<script") && !page.contains("src=") && !page.contains("url("));
    }

    #[test]
    fn a_text_that_is_no_document_is_named_with_what_writes_one() {
        let error = figures::stress("{\"tokens\": \"many\"}", "a.json").unwrap_err().to_string();
        assert!(error.contains("a.json") && error.contains("ng stress --json"), "{error}");
    }
}
