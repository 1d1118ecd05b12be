//! The contract suite of admission, run on the guardian and on the admission that is off.
#![cfg(not(loom))]

use ng_core::admission::{Admission, NoAdmission};
use ng_core::testing::admission::{run, run_unlimited};
use ng_guardian::{Guardian, GuardianOptions, Limits};
use std::sync::Arc;

#[test]
fn the_guardian_keeps_the_contract() {
    run(|limit| {
        let limits = Limits { max_tokens: limit, max_memory_bytes: u64::MAX };
        Arc::new(Guardian::start(GuardianOptions { limits, ..GuardianOptions::default() }).unwrap())
            as Arc<dyn Admission>
    });
}

#[test]
fn an_admission_that_is_off_keeps_what_is_left_of_it() {
    run_unlimited(|| Arc::new(NoAdmission));
}
