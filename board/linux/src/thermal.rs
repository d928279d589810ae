//! How hot the board is: the thermal zones of sysfs.

use std::path::{Path, PathBuf};

use board_core::thermal::MilliCelsius;

use crate::{Error, sysfs};

/// Something that knows how hot it is.
pub trait Thermometer {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// It does not answer.
    fn temperature(&mut self) -> Result<MilliCelsius, Error>;
}

/// A thermal zone of Linux.
#[derive(Debug)]
pub struct ThermalZone {
    temperature: PathBuf,
}

impl ThermalZone {
    /// The zone of this type, if there is one.
    pub fn find(kind: &str, root: &Path) -> Option<Self> {
        let folder = std::fs::read_dir(root.join("sys/class/thermal")).ok()?;
        let zones = folder.flatten().map(|entry| entry.path());
        let mut zones: Vec<PathBuf> = zones
            .filter(|zone| sysfs::read(&zone.join("type")).is_ok_and(|found| found == kind))
            .collect();
        zones.sort();
        let temperature = zones.first()?.join("temp");
        Some(ThermalZone { temperature })
    }
}

impl Thermometer for ThermalZone {
    fn temperature(&mut self) -> Result<MilliCelsius, Error> {
        let text = sysfs::read(&self.temperature)?;
        let thousandths = text.parse().map_err(|error| Error::File {
            path: self.temperature.clone(),
            error: std::io::Error::new(std::io::ErrorKind::InvalidData, error),
        })?;
        Ok(MilliCelsius(thousandths))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::tests::Folder;

    #[test]
    fn a_zone_is_found_by_its_type_and_read_in_thousandths_of_a_degree() {
        let root = Folder::new();
        for (zone, kind, temperature) in
            [(0, "soc-thermal", "48000\n"), (1, "cpu-thermal", "51250\n")]
        {
            let zone = format!("sys/class/thermal/thermal_zone{zone}");
            root.write(&format!("{zone}/type"), &format!("{kind}\n"));
            root.write(&format!("{zone}/temp"), temperature);
        }
        let mut zone = ThermalZone::find("cpu-thermal", root.path()).unwrap();
        assert_eq!(zone.temperature().unwrap(), MilliCelsius(51_250));
        assert!(ThermalZone::find("core-cluster", root.path()).is_none());
        root.write("sys/class/thermal/thermal_zone1/temp", "hot\n");
        assert!(zone.temperature().is_err());
    }
}
