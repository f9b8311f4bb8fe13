//! `mayfly layers`: the names of layers and steps as JSON, for the tools and tests that are no Rust.
//!
//! Hidden: it says nothing of the machine it runs on, and `doctor` is for people.

use super::exit;
use crate::fault;
use crate::layer::Layer;
use crate::step::Step;
use serde_json::json;

pub fn run() -> i32 {
    let names = |all: &[Layer]| all.iter().map(|layer| layer.as_str()).collect::<Vec<_>>();
    let steps: Vec<&str> = Step::ALL.iter().map(|step| step.as_str()).collect();
    let mut told = json!({ "layers": names(Layer::ALL), "told": names(Layer::TOLD), "steps": steps });
    if let Some((variable, names)) = fault::can_leave_out() {
        told[variable] = names.into();
    }
    println!("{told}");
    exit::OK
}
