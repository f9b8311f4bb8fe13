//! Which row of the table of answers a request belongs to that another room found wrong.
//!
//! Runs in the supervisor; pure. It must never say anything itself: the sentence is the finder's, and has the row's form.

use super::arguments::Unfit;
use crate::errors::Refused;
use crate::files::{self, WrongFile};
use crate::job::Wrong;
use crate::manner;

/// The row of what is no job.
pub(super) fn of_job(wrong: &Wrong) -> Refused {
    match wrong {
        Wrong::ScriptTooLarge(_) => Refused::ScriptTooLarge,
        Wrong::ArgsNoList => Refused::ArgsNoList,
        Wrong::KwargsNoMap => Refused::KwargsNoObject,
        Wrong::LimitTooLarge(..) => Refused::LimitTooLarge,
        Wrong::LimitNotInRange(..) => Refused::LimitNotInRange,
        Wrong::Manner(wrong) => of_manner(wrong),
        Wrong::Files(wrong) => of_files(wrong),
    }
}

fn of_manner(wrong: &manner::Wrong) -> Refused {
    match wrong {
        manner::Wrong::Entrypoint => Refused::EntrypointNoName,
        manner::Wrong::TooMany(..) => Refused::TooManyEntries,
        manner::Wrong::TooLong(..) => Refused::TooLong,
        manner::Wrong::Null(_) => Refused::NullCharacter,
        manner::Wrong::NoName => Refused::EnvNoName,
        manner::Wrong::EqualsSign => Refused::EnvEqualsSign,
        manner::Wrong::Repeated => Refused::EnvTwice,
        manner::Wrong::NotInProgram(_) => Refused::NotInProgram,
        manner::Wrong::NotInFunction(_) => Refused::NotInFunction,
    }
}

fn of_files(wrong: &files::Wrong) -> Refused {
    match wrong {
        files::Wrong::NoPlace => Refused::FilesNoPlace,
        files::Wrong::TooMany(_) => Refused::TooManyFiles,
        files::Wrong::TooManyEntries => Refused::TooManyPlaces,
        files::Wrong::TooLarge(_) => Refused::FilesTooLarge,
        files::Wrong::NoRoom(_) => Refused::FilesNoRoom,
        files::Wrong::File(_, wrong) => match wrong {
            WrongFile::Empty => Refused::FileNoName,
            WrongFile::Nul => Refused::FileNul,
            WrongFile::Absolute => Refused::FileAbsolute,
            WrongFile::Parent => Refused::FileParent,
            WrongFile::Directory => Refused::FileDirectory,
            WrongFile::TooLong => Refused::FilePathTooLong,
            WrongFile::TooDeep(_) => Refused::FileTooDeep,
            WrongFile::Script => Refused::FileIsScript,
            WrongFile::Twice => Refused::FileTwice,
            WrongFile::AlsoDirectory(_) => Refused::FileAlsoDirectory,
            WrongFile::TooLarge(_) => Refused::FileTooLarge,
        },
    }
}

/// The row of a value that can't be given to a script.
pub(super) fn of_unfit(unfit: &Unfit) -> Refused {
    match unfit {
        Unfit::TooDeep => Refused::TooDeep,
        Unfit::TooManyDigits => Refused::TooManyDigits,
        Unfit::OutOfRange => Refused::OutOfRange,
        Unfit::LoneSurrogate => Refused::LoneSurrogate,
        Unfit::Malformed => Refused::MalformedValue,
    }
}
