//! Which isolation the machine grants, and whether that is what the run was told to expect.

use driver::places::{Place, attacked, expected, has_nsjail};
use driver::tests;
use libtest_mimic::Trial;

pub fn trials() -> Vec<Trial> {
    tests![the_machine_grants_what_is_expected, without_landlock_and_chroot_no_path_is_followed]
}

fn without_landlock_and_chroot_no_path_is_followed() {
    if attacked().contains(&Place::NoFiles) {
        assert!(is_granted(Place::NoFiles), "a server without Landlock and chroot");
    }
}

fn the_machine_grants_what_is_expected() {
    let expected: Vec<Place> = expected().into_iter().filter(|place| place.needs().lacking().is_none()).collect();
    let granted: Vec<Place> = Place::ALL.into_iter().filter(|place| is_granted(*place)).collect();
    let names = |places: &[Place]| places.iter().map(|place| place.as_str()).collect::<Vec<_>>().join(",");
    eprintln!("granted here: {}; expected: {}", names(&granted), names(&expected));
    let (granted, expected) = (names(&granted), names(&expected));
    assert_eq!(granted, expected, "this machine grants {granted}; set MAYFLY_EXPECT_LEVELS to what it should grant");
}

/// Whether a server starts there, and says that what makes the place is in force.
fn is_granted(place: Place) -> bool {
    if place == Place::Nsjail && !has_nsjail() {
        return false;
    }
    let Ok(server) = place.setup(&[("MAYFLY_PRELOAD", ""), ("MAYFLY_READY", "1")]).launch() else { return false };
    let capabilities = server.get("/capabilities").json();
    assert_eq!(capabilities["isolation"], place.level(), "{capabilities}");
    let has = |layer: &str| capabilities["layers"][layer]["granted"] == true;
    match place {
        Place::Full => has("pid-namespace") && has("mount-namespace") && has("network-namespace"),
        Place::Seccomp => has("own-root"),
        Place::Landlock => has("landlock") && has("paths-below-root") && !has("own-root"),
        Place::NoFiles => !["landlock", "paths-below-root", "own-root"].into_iter().any(has),
        Place::Nsjail => true,
    }
}
