//! All pools, by what their children are made of, from the lightest to the heaviest.
//!
//! Runs in the supervisor. It knows which pools there are and how they do; which of them a job goes to is decided by `routing`.

use super::pool::{Pool, Seed};

/// The pools that there are: at least one.
#[derive(Debug)]
pub struct Pools {
    lightest: Pool,
    /// In the order of their weight.
    heavier: Vec<Pool>,
}

impl Pools {
    /// These, the lightest first.
    #[must_use]
    pub fn new(lightest: Pool, heavier: Vec<Pool>) -> Self {
        Self { lightest, heavier }
    }

    /// The lightest.
    #[must_use]
    pub fn lightest(&self) -> &Pool {
        &self.lightest
    }

    /// The heaviest.
    #[must_use]
    pub fn heaviest(&self) -> &Pool {
        self.heavier.last().unwrap_or(&self.lightest)
    }

    /// The one whose children are made of this.
    #[must_use]
    pub fn get(&self, seed: &Seed) -> Option<&Pool> {
        self.iter().find(|pool| pool.seed() == seed)
    }

    /// All of them, the lightest first.
    pub fn iter(&self) -> impl Iterator<Item = &Pool> {
        std::iter::once(&self.lightest).chain(&self.heavier)
    }

    /// Waits until one of them has a zygote.
    pub async fn wait_warm(&self) {
        tokio::select! { () = self.lightest.wait_warm() => {}, () = self.heaviest().wait_warm() => {} }
    }
}
