//! Ways into the kernel that are not the one the policy speaks of.

use crate::{Test, test};

#[cfg(target_arch = "x86_64")]
pub fn tests() -> Vec<Test> {
    let mut tests = vec![test("foreign::trampoline-calls-do-nothing", x86_64::trampoline_calls_do_nothing)];
    for policy in crate::compiler::VARIANTS {
        tests.push(test(format!("foreign::{}::i386", policy.name), || x86_64::i386_is_killed(policy)));
    }
    tests
}

/// aarch64's other entry belongs to 32-bit programs, and nothing in a 64-bit one leads to it.
#[cfg(not(target_arch = "x86_64"))]
pub fn tests() -> Vec<Test> {
    vec![test("foreign::none-on-this-architecture", || Ok(()))]
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use crate::Verdict;
    use crate::child::{self, PATIENT, Sheet};
    use crate::fates::{Call, raw};
    use mayfly::jail::filter::{self, FULL, Policy};
    use mayfly::sys::How;

    /// More than i386 has.
    const NUMBERS: std::ops::Range<u32> = 0..512;

    /// `getpid` in the i386 table.
    const GETPID: u32 = 20;

    /// Makes a system call as an i386 program does, whatever stands in the argument registers.
    fn int_0x80(number: u32) -> u32 {
        let answer;
        // SAFETY: made where a filter kills, or with getpid's number; the kernel clears r8 to r11 and leaves the rest.
        unsafe {
            std::arch::asm!("int 0x80", inlateout("eax") number => answer,
                out("r8") _, out("r9") _, out("r10") _, out("r11") _, options(nostack));
        }
        answer
    }

    /// The filter kills it. Where the kernel was built without i386 there is no such entry, with or without a filter.
    pub fn i386_is_killed(policy: &'static Policy) -> Verdict {
        let sheet = Sheet::new();
        let (outside, _) = child::run(PATIENT, sheet, || {
            if int_0x80(GETPID) == std::process::id() { Ok(()) } else { Err("another answer".to_owned()) }
        });
        let end = match outside {
            How::Exited(0) => libc::SIGSYS,
            How::Signalled(libc::SIGSEGV) => libc::SIGSEGV,
            other => return Err(format!("without a filter: {other:?}")),
        };
        for number in NUMBERS {
            let (how, _) = child::run(PATIENT, sheet, || {
                filter::install(policy).map_err(|errno| errno.to_string())?;
                Err(format!("it came back with {:#x}", int_0x80(number)))
            });
            if how != How::Signalled(end) {
                return Err(format!("{number}: {how:?}"));
            }
        }
        Ok(())
    }

    /// `uretprobe` and `uprobe` pass by the filter, and do nothing here: the kernel answers SIGILL where no trampoline is.
    /// A kernel that does not know them yet leaves them to the filter, as any number without a rule.
    pub fn trampoline_calls_do_nothing() -> Verdict {
        for number in crate::numbers::PASSED_BY_LINUX {
            let (how, words) = child::run(PATIENT, Sheet::new(), || {
                filter::install(&FULL).map_err(|errno| errno.to_string())?;
                match raw(&Call { number: number.into(), args: [0; 6] }) {
                    Err(libc::ENOSYS | libc::ENXIO) => Ok(()),
                    other => Err(format!("{number} came back with {other:?}")),
                }
            });
            match (how, words) {
                (How::Exited(0), Some(verdict)) => verdict?,
                (How::Signalled(libc::SIGILL), None) => {}
                (other, _) => return Err(format!("{number}: {other:?}")),
            }
        }
        Ok(())
    }
}
