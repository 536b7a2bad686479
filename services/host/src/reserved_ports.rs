//! Keeping the apps' ports from being handed out to others: `net.ipv4.ip_local_reserved_ports`
//! (the kernel's Documentation/networking/ip-sysctl.rst). The public range lies inside the kernel's
//! ephemeral range, so any outgoing connection could take one.

use std::{fs, io, ops::RangeInclusive};

const SETTING: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";

/// Adds ranges to the kernel's list, keeping what is there. Returns the list that stands now.
pub(crate) fn reserve(ranges: &[RangeInclusive<u16>]) -> io::Result<String> {
    let before = fs::read_to_string(SETTING)?;
    let standing = parse(&before);
    let wanted = union(standing.iter().cloned().chain(ranges.iter().cloned()));
    let text = format(&wanted);
    if wanted != standing {
        fs::write(SETTING, &text)?;
    }
    Ok(text)
}

/// `1000,2000-2010`; what can't be read is not the kernel's and is left out.
fn parse(text: &str) -> Vec<RangeInclusive<u16>> {
    let entries = text.trim().split(',').filter_map(|entry| {
        let (first, last) = entry.split_once('-').unwrap_or((entry, entry));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    union(entries)
}

/// Sorted, without overlaps; adjoining ranges become one.
fn union(ranges: impl Iterator<Item = RangeInclusive<u16>>) -> Vec<RangeInclusive<u16>> {
    let mut sorted: Vec<_> = ranges.filter(|range| !range.is_empty()).collect();
    sorted.sort_by_key(|range| *range.start());
    let mut merged: Vec<RangeInclusive<u16>> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match merged.last_mut() {
            Some(last) if u32::from(*range.start()) <= u32::from(*last.end()) + 1 => {
                *last = *last.start()..=*last.end().max(range.end());
            }
            Some(_) | None => merged.push(range),
        }
    }
    merged
}

fn format(ranges: &[RangeInclusive<u16>]) -> String {
    let entries: Vec<_> = ranges
        .iter()
        .map(|range| match (range.start(), range.end()) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        })
        .collect();
    entries.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ranges() -> impl Strategy<Value = Vec<RangeInclusive<u16>>> {
        prop::collection::vec((any::<u16>(), 0..200_u16), 0..20).prop_map(|pairs| {
            let range = |(first, length): (u16, u16)| first..=first.saturating_add(length);
            pairs.into_iter().map(range).collect()
        })
    }

    fn holds(ranges: &[RangeInclusive<u16>], port: u16) -> bool {
        ranges.iter().any(|range| range.contains(&port))
    }

    #[test]
    fn what_was_reserved_stays_reserved() {
        let standing = parse("22,15100-15200,50000\n");
        let wanted = union(standing.into_iter().chain([15000..=25000, 35000..=45000]));
        assert_eq!(format(&wanted), "22,15000-25000,35000-45000,50000");
    }

    #[test]
    fn an_empty_list_is_no_range() {
        assert_eq!(parse("\n"), Vec::new());
    }

    proptest! {
        #[test]
        fn a_union_holds_the_same_ports_in_order(list in ranges(), port: u16) {
            let merged = union(list.iter().cloned());
            prop_assert_eq!(holds(&merged, port), holds(&list, port));
            prop_assert!(merged.windows(2).all(|pair| pair[0].end() < pair[1].start()));
        }

        #[test]
        fn what_is_written_is_read_back(list in ranges()) {
            let merged = union(list.into_iter());
            prop_assert_eq!(parse(&format(&merged)), merged);
        }
    }
}
