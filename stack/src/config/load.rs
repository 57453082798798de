//! Finds the configuration and reads it.

use std::ffi::OsString;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tpa_tcp::wire::IpAddress;

use super::{Config, ConfigError, DeviceSpec};
use crate::device::fault::FaultPlan;

/// Where a configuration is looked for when `TPA_CONF` names none.
const PLACES: [&str; 2] = ["./tpa.conf", "/etc/tpa/tpa.conf"];

/// The configuration of this process: the file that `TPA_CONF` names,
/// `./tpa.conf` or `/etc/tpa/tpa.conf`, the first that is there, and above it
/// `TPA_LISTEN`, `TPA_CONNECT`, `TPA_STRICT` and `TPA_DEVICE`.
///
/// `None` when nothing is configured anywhere: that costs two failed opens. An
/// empty `TPA_CONF` means no file.
///
/// # Errors
///
/// The file is there and cannot be read, or it or a variable is wrong.
pub fn load() -> Result<Option<Config>, ConfigError> {
    load_with(std::env::var_os, &PLACES.map(PathBuf::from))
}

/// [`load()`] with another environment and other places.
///
/// # Errors
///
/// As [`load()`].
pub fn load_with(
    variable: impl Fn(&'static str) -> Option<OsString>,
    places: &[PathBuf],
) -> Result<Option<Config>, ConfigError> {
    let from_file = match variable("TPA_CONF") {
        Some(path) if path.is_empty() => None,
        Some(path) => Some(parse_file(Path::new(&path))?),
        None => first_of(places)?,
    };
    let from_environment = Overrides::read(variable)?;
    match (from_file, from_environment) {
        (None, None) => Ok(None),
        (config, None) => Ok(config),
        (config, Some(overrides)) => Ok(Some(overrides.over(config.unwrap_or_default())?)),
    }
}

/// Reads one file.
///
/// # Errors
///
/// It cannot be read, or says something wrong.
pub fn parse_file(path: &Path) -> Result<Config, ConfigError> {
    match std::fs::read(path) {
        Ok(bytes) => parse(path, &bytes),
        Err(error) => Err(ConfigError::Unreadable { path: path.to_owned(), error }),
    }
}

/// Name by which this program was called, without its folder; what rules'
/// `programs` are compared with. Empty when it cannot be known.
pub fn program_name() -> String {
    let called = std::env::args_os().next().unwrap_or_default();
    Path::new(&called).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn first_of(places: &[PathBuf]) -> Result<Option<Config>, ConfigError> {
    for path in places {
        match parse_file(path) {
            Err(ConfigError::Unreadable { error, .. }) if is_absent(&error) => {}
            result => return result.map(Some),
        }
    }
    Ok(None)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Config, ConfigError> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let at = error.valid_up_to();
            let good = String::from_utf8_lossy(&bytes[..at]);
            return Err(ConfigError::at(path, &good, at..at, "the text is not UTF-8".to_owned()));
        }
    };
    let mut config: Config =
        toml::from_str(text).map_err(|error| ConfigError::from_toml(path, text, &error))?;
    config.tcp.preset.apply(&mut config.tcp, |name| span_of(text, &["tcp", name]).is_some());
    match config.contradiction() {
        Some((keys, message)) => {
            Err(ConfigError::at(path, text, span_of(text, keys).unwrap_or(0..0), message))
        }
        None => Ok(config),
    }
}

/// Where the value of a key stands.
fn span_of(text: &str, keys: &[&str]) -> Option<std::ops::Range<usize>> {
    let document = toml::de::DeTable::parse(text).ok()?;
    let (last, tables) = keys.split_last()?;
    let mut table = document.get_ref();
    for name in tables {
        table = table.get(*name)?.get_ref().as_table()?;
    }
    Some(table.get(*last)?.span())
}

impl Config {
    /// What is wrong with the device's own addresses.
    fn address_contradiction(&self) -> Option<(&'static [&'static str], String)> {
        for (key, own) in [(&["address"] as &'static [_], self.address), (&["address6"], self.address6)] {
            if self.device == DeviceSpec::None && own.is_some() {
                return Some((key, "without a device the addresses are the kernel's".to_owned()));
            }
        }
        if let Some(own) = self.address.filter(|own| own.address().is_ipv6()) {
            return Some((&["address"], format!("{own} is an IPv6 address: set 'address6'")));
        }
        if let Some(own) = self.address6.filter(|own| own.address().is_ipv4()) {
            return Some((&["address6"], format!("{own} is an IPv4 address: set 'address'")));
        }
        let v4 = (&["gateway"] as &'static [_], "address", self.gateway.map(IpAddr::V4), self.address);
        let v6 = (&["gateway6"] as &'static [_], "address6", self.gateway6.map(IpAddr::V6), self.address6);
        [v4, v6].into_iter().find_map(|(key, beside, gateway, own)| {
            let gateway = gateway?;
            match own {
                None => Some((key, format!("'{}' needs '{beside}' beside it", key[0]))),
                Some(own) if own.reaches(gateway) || IpAddress::from(gateway).needs_scope() => None,
                Some(own) => Some((key, format!("{gateway} is not on the network of {own}"))),
            }
        })
    }

    /// What is wrong beyond single values, mostly one option against another:
    /// the key to blame, and why.
    fn contradiction(&self) -> Option<(&'static [&'static str], String)> {
        if self.device == DeviceSpec::Memif && self.own_addresses().is_empty() {
            let message = "a memif device has no address of the kernel's: set 'address'";
            return Some((&["device"], message.to_owned()));
        }
        if self.device == DeviceSpec::None && !self.loopback {
            let message = "without a device there is only loopback: set 'loopback = true' beside it";
            return Some((&["device"], message.to_owned()));
        }
        if let Some(contradiction) = self.address_contradiction() {
            return Some(contradiction);
        }
        if self.memif.secret.as_ref().is_some_and(|secret| secret.len() > 24) {
            return Some((&["memif", "secret"], "a memif secret has at most 24 bytes".to_owned()));
        }
        for (keys, size) in [
            (&["memif", "ring_size"] as &'static [_], self.memif.ring_size),
            (&["af_xdp", "ring_size"], self.af_xdp.ring_size),
        ] {
            if !size.is_power_of_two() {
                let (below, above) = (size.next_power_of_two() / 2, size.next_power_of_two());
                return Some((keys, format!("{size} is not a power of two; near are {below} and {above}")));
            }
        }
        if let Err(error) = self.fault.spec.parse::<FaultPlan>() {
            return Some((&["fault", "spec"], error.to_string()));
        }
        self.tcp_contradiction()
    }

    fn tcp_contradiction(&self) -> Option<(&'static [&'static str], String)> {
        let tcp = &self.tcp;
        let pairs: [(&'static [&'static str], _, _, _); 4] = [
            (&["tcp", "rto_min_ms"], tcp.rto_min_ms, "rto_max_ms", tcp.rto_max_ms),
            (&["tcp", "rto_initial_ms"], tcp.rto_initial_ms, "rto_max_ms", tcp.rto_max_ms),
            (&["tcp", "sndbuf"], tcp.sndbuf, "sndbuf_max", tcp.sndbuf_max),
            (&["tcp", "rcvbuf"], tcp.rcvbuf, "rcvbuf_max", tcp.rcvbuf_max),
        ];
        let (keys, value, limit, most) = pairs.into_iter().find(|(_, value, _, most)| value > most)?;
        Some((keys, format!("{value} is more than '{limit}', which is {most}")))
    }
}

/// What the environment sets above the file.
#[derive(Default)]
struct Overrides {
    listen: Option<Vec<super::ListenPattern>>,
    connect: Option<Vec<super::ConnectPattern>>,
    strict: Option<bool>,
    device: Option<DeviceSpec>,
}

impl Overrides {
    /// `None` when no variable is set.
    fn read(variable: impl Fn(&'static str) -> Option<OsString>) -> Result<Option<Self>, ConfigError> {
        let text = |name| variable(name).map(|value| value.to_string_lossy().into_owned());
        let overrides = Self {
            listen: text("TPA_LISTEN").map(|text| parse_list("TPA_LISTEN", &text)).transpose()?,
            connect: text("TPA_CONNECT").map(|text| parse_list("TPA_CONNECT", &text)).transpose()?,
            strict: text("TPA_STRICT").map(|text| parse_switch("TPA_STRICT", &text)).transpose()?,
            device: text("TPA_DEVICE").map(|text| parse_one("TPA_DEVICE", &text)).transpose()?,
        };
        let any = overrides.listen.is_some()
            || overrides.connect.is_some()
            || overrides.strict.is_some()
            || overrides.device.is_some();
        Ok(any.then_some(overrides))
    }

    fn over(self, config: Config) -> Result<Config, ConfigError> {
        let config = Config {
            listen: self.listen.unwrap_or(config.listen),
            connect: self.connect.unwrap_or(config.connect),
            strict: self.strict.unwrap_or(config.strict),
            device: self.device.unwrap_or(config.device),
            ..config
        };
        // The file alone was found right: what contradicts now is the device.
        match config.contradiction() {
            Some((_, message)) => Err(ConfigError::Environment { variable: "TPA_DEVICE", message }),
            None => Ok(config),
        }
    }
}

fn parse_one<T: FromStr<Err = String>>(variable: &'static str, text: &str) -> Result<T, ConfigError> {
    text.trim().parse().map_err(|message| ConfigError::Environment { variable, message })
}

fn parse_list<T: FromStr<Err = String>>(variable: &'static str, text: &str) -> Result<Vec<T>, ConfigError> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(|item| parse_one(variable, item)).collect()
}

fn parse_switch(variable: &'static str, text: &str) -> Result<bool, ConfigError> {
    match text.trim() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "" | "0" | "false" | "no" | "off" => Ok(false),
        other => Err(ConfigError::Environment {
            variable,
            message: format!("'{other}' is neither true nor false"),
        }),
    }
}
