//! One setting: looked up by its name, checked against its range.
//!
//! Used in the supervisor, at start. It sees values only through the function that it is given, never the environment.

use super::{ConfigError, Range, Refill, SETTINGS, Setting};
use crate::files::{self, Caps};
use crate::hosts::Hosts;
use crate::proxies::Proxies;
use crate::size::ByteSize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Looks settings up and checks them; `given` answers for one name.
pub(super) struct Reader<'a> {
    given: &'a dyn Fn(&str) -> Option<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(given: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { given }
    }

    /// The table's row. Every name in this file is in the table: each start reads all of them.
    fn row(name: &str) -> &'static Setting {
        SETTINGS.iter().find(|setting| setting.name == name).expect("a name of the table")
    }

    fn text(&self, name: &str) -> Option<String> {
        (self.given)(name).filter(|value| !value.is_empty())
    }

    pub(super) fn number(&self, name: &str) -> Result<u64, ConfigError> {
        let setting = Self::row(name);
        let value = self.text(name).unwrap_or_else(|| setting.default.to_owned());
        let Range::Number { least, most } = setting.range else {
            return Err(ConfigError::out_of_range(setting, value));
        };
        match value.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            _ => Err(ConfigError::out_of_range(setting, value)),
        }
    }

    pub(super) fn size(&self, name: &str) -> Result<usize, ConfigError> {
        self.number(name).map(|number| usize::try_from(number).unwrap_or(usize::MAX))
    }

    /// A number whose default was found at start.
    pub(super) fn size_or(&self, name: &str, found: usize) -> Result<usize, ConfigError> {
        if self.text(name).is_some() { self.size(name) } else { Ok(found) }
    }

    /// The most that a request may ask for, by the setting `name`, where it gets what `limit` says if it asks for nothing. Where the
    /// maximum is not set, a limit above it raises it: whoever sets `MAYFLY_WALL_MS=120000` alone wants that to hold. One that is set
    /// below its limit is refused: either of the two may be the mistake.
    pub(super) fn maximum<T: Ord>(
        &self,
        name: &'static str,
        read: impl Fn(&Self, &str) -> Result<T, ConfigError>,
        limit: &str,
    ) -> Result<T, ConfigError> {
        let (most, least) = (read(self, name)?, read(self, limit)?);
        match self.text(name) {
            _ if least <= most => Ok(most),
            None => Ok(least),
            Some(value) => {
                let default = self.text(limit).unwrap_or_else(|| Self::row(limit).default.to_owned());
                let expected = format!("at least {limit}, which is {default}; lower that too, or raise this");
                Err(ConfigError { name, value: Some(value), expected })
            }
        }
    }

    pub(super) fn milliseconds(&self, name: &str) -> Result<Duration, ConfigError> {
        self.number(name).map(Duration::from_millis)
    }

    pub(super) fn mebibytes(&self, name: &str) -> Result<ByteSize, ConfigError> {
        self.number(name).map(ByteSize::mebibytes)
    }

    pub(super) fn bytes(&self, name: &str) -> Result<ByteSize, ConfigError> {
        self.number(name).map(ByteSize)
    }

    /// What files are held to: no more than /tmp has room for.
    pub(super) fn files(&self) -> Result<files::Bounds, ConfigError> {
        let room = self.mebibytes("MAYFLY_TMP_MB")?;
        let all = self.bytes("MAYFLY_FILES_BYTES")?.min(room);
        let brought = Caps {
            count: self.size("MAYFLY_FILES")?,
            depth: self.size("MAYFLY_FILES_DEPTH")?,
            each: self.bytes("MAYFLY_FILE_BYTES")?.min(all),
            all,
        };
        Ok(files::Bounds { brought, room: Some(room) })
    }

    /// One of the words of a setting's range. Set but empty is none of them: a template's variable that was not set, perhaps.
    pub(super) fn choice<T>(&self, name: &str, read: impl Fn(&str) -> Option<T>) -> Result<T, ConfigError> {
        let setting = Self::row(name);
        let value = (self.given)(name).unwrap_or_else(|| setting.default.to_owned());
        read(&value).ok_or_else(|| ConfigError::out_of_range(setting, value))
    }

    pub(super) fn listen(&self) -> Result<SocketAddr, ConfigError> {
        if self.text("MAYFLY_LISTEN").is_none() && self.text("PORT").is_some() {
            let port = self.number("PORT")?;
            return Ok(SocketAddr::from(([0, 0, 0, 0], u16::try_from(port).unwrap_or(0))));
        }
        let setting = Self::row("MAYFLY_LISTEN");
        let value = self.text(setting.name).unwrap_or_else(|| setting.default.to_owned());
        value.parse().map_err(|_| ConfigError::out_of_range(setting, value))
    }

    pub(super) fn hosts(&self) -> Result<Hosts, ConfigError> {
        let setting = Self::row("MAYFLY_HOSTS");
        let value = self.text(setting.name).unwrap_or_default();
        Hosts::read(&value).ok_or_else(|| ConfigError::out_of_range(setting, value))
    }

    pub(super) fn proxies(&self) -> Result<Proxies, ConfigError> {
        let setting = Self::row("MAYFLY_PROXIES");
        let value = self.text(setting.name).unwrap_or_default();
        Proxies::read(&value).ok_or_else(|| ConfigError::out_of_range(setting, value))
    }

    /// Cloud Run sets `K_SERVICE`, and by default gives no processor time between requests. Knative sets it too and
    /// does give it: `deploy/knative.yaml` says `after`.
    pub(super) fn refill(&self) -> Result<Refill, ConfigError> {
        const NAME: &str = "MAYFLY_REFILL";
        match (self.text(NAME), (self.given)("K_SERVICE")) {
            (None, None) => Ok(Refill::AfterAnswer),
            (None, Some(_)) => Ok(Refill::BeforeAnswer),
            (Some(_), _) => self.choice(NAME, |word| match word {
                "after" => Some(Refill::AfterAnswer),
                "before" => Some(Refill::BeforeAnswer),
                _ => None,
            }),
        }
    }

    pub(super) fn preload(&self) -> Result<Vec<String>, ConfigError> {
        let setting = Self::row("MAYFLY_PRELOAD");
        // Set but empty means: nothing.
        let value = (self.given)(setting.name).unwrap_or_else(|| setting.default.to_owned());
        let modules: Vec<String> =
            value.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
        let is_name = |name: &String| {
            name.split('.').all(|part| {
                !part.is_empty()
                    && !part.starts_with(|first: char| first.is_ascii_digit())
                    && part.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
            })
        };
        if modules.iter().all(is_name) { Ok(modules) } else { Err(ConfigError::out_of_range(setting, value)) }
    }

    pub(super) fn directory(&self, name: &str) -> Result<Option<PathBuf>, ConfigError> {
        let Some(value) = self.text(name) else { return Ok(None) };
        match Path::new(&value).canonicalize() {
            Ok(path) if path.is_dir() => Ok(Some(path)),
            _ => Err(ConfigError::out_of_range(Self::row(name), value)),
        }
    }

    pub(super) fn root(&self) -> Result<PathBuf, ConfigError> {
        const NAME: &str = "MAYFLY_ROOT";
        let unfit = |value: Option<String>, expected: String| {
            Err(ConfigError { name: NAME, value, expected: format!("{expected}; `make build` makes one") })
        };
        if let Some(given) = self.directory(NAME)? {
            if given.join("mayfly.json").is_file() {
                return Ok(given);
            }
            let expected = "a jail root, which is a directory tree with a file mayfly.json";
            return unfit(Some(given.display().to_string()), expected.to_owned());
        }
        let program = std::env::current_exe().unwrap_or_default();
        let beside = program.parent().unwrap_or(Path::new("/"));
        let candidates = [beside.join("../jail"), beside.join("../lib/mayfly/jail")];
        for candidate in &candidates {
            if candidate.join("mayfly.json").is_file()
                && let Ok(path) = candidate.canonicalize()
            {
                return Ok(path);
            }
        }
        unfit(None, format!("there is no jail root at {}", candidates[0].display()))
    }
}
