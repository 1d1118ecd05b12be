//! An admission of one's own: tokens are let in during office hours only.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use ng_core::TokenSpec;
use ng_core::admission::{Admission, AdmissionLane, AdmissionStats, Reclaim, Refusal, Violation};
use ng_core::lane::CreateError;
use ng_core::token::Token;
use ng_stack::{Stack, config::Loader};

#[derive(Default)]
struct Hours {
    open: AtomicBool,
    refused: AtomicU64,
}

struct Door(Arc<Hours>);

impl AdmissionLane for Door {
    fn admit(&mut self, n: u64) -> Result<(), Refusal> {
        if self.0.open.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.0.refused.fetch_add(n, Ordering::Relaxed);
        let (limit, used, top) = (0, 0, Vec::new());
        Err(Refusal { quota: "hours", asked: n, used, limit, top, reason: Some("closed until morning") })
    }

    fn release(&mut self, _n: u64) {}

    fn check(&mut self, _token: &Token) -> Result<(), Violation> {
        Ok(())
    }
}

struct Office(Arc<Hours>);

impl Admission for Office {
    fn lane(&self, _name: &str) -> Box<dyn AdmissionLane> {
        Box::new(Door(Arc::clone(&self.0)))
    }

    fn set_reclaim(&self, _reclaim: Weak<dyn Reclaim>) {}

    fn stats(&self) -> AdmissionStats {
        let refused = self.0.refused.load(Ordering::Relaxed);
        AdmissionStats { refused, limit: u64::MAX, ..AdmissionStats::default() }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hours = Arc::new(Hours::default());
    let off = "[wal]\nkind = \"off\"\n[metrics]\nkind = \"off\"\n[tracing]\nkind = \"off\"\n[blackbox]\nkind = \"off\"";
    let loaded = Loader::new().text("custom_admission", off).load()?;
    let stack = Stack::builder().loaded(loaded).admission(Arc::new(Office(Arc::clone(&hours)))).build()?;
    let mut lane = stack.lane("maker")?;
    let refused = lane.create(&TokenSpec::new());
    assert!(matches!(&refused, Err(CreateError::Quota(why)) if why.to_string().contains("until morning")));
    hours.open.store(true, Ordering::Relaxed);
    lane.create(&TokenSpec::new())?;
    assert_eq!((stack.store().len(), stack.admission().stats().refused), (1, 1));
    Ok(())
}

#[test]
fn nobody_gets_in_at_night() {
    assert!(main().is_ok());
}
