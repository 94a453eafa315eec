//! Lists of cores, as the kernel and configuration files write them: `0-3,7`.
//!
//! Invariants
//! - what `CoreSet` shows, this reads back.
use drover_core::types::CoreSet;

/// The highest number of a core: sets of them are kept with every node.
const CORE_MAX: u16 = 4_095;

/// The cores of the list.
///
/// # Errors
/// What of it is no core and no range of them.
pub fn parse(text: &str) -> Result<CoreSet, String> {
    let mut cores = CoreSet::default();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse().ok().filter(|&core: &u16| core <= CORE_MAX);
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => {
                (first..=last).for_each(|core| cores.insert(core));
            }
            (Some(_) | None, Some(_) | None) => {
                return Err(format!("\"{part}\" is no core or range of cores"));
            }
        }
    }
    Ok(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_back() {
        for list in ["", "0", "0-3", "0-3,7", "1,3,5-6,63-65,4095"] {
            assert_eq!(parse(list).unwrap().to_string(), list);
        }
        assert_eq!(parse(" 2 , 0 - 1").unwrap().to_string(), "0-2");
        for wrong in ["x", "3-1", "1-", "4096", "-1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
