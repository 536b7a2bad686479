//! Sizes: `64MB`, `1.5GB`, `512MiB`. Pure.

/// Bytes of a size; powers of 1000 for `KB…`, of 1024 for `KiB…`. `None` when it is not one.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: u64 = match unit.trim() {
        "B" => 1,
        "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || (number.contains('.') && fraction.is_empty()) || fraction.len() > 9 {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    let scale = 10_u64.pow(u32::try_from(fraction.len()).ok()?);
    let fraction: u64 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    let part = u128::from(fraction) * u128::from(factor) / u128::from(scale);
    whole
        .checked_add(u64::try_from(part).ok()?)
        .filter(|size| *size > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_exact() {
        assert_eq!(parse("64MB"), Some(64_000_000));
        assert_eq!(parse("1.5GB"), Some(1_500_000_000));
        assert_eq!(parse("512MiB"), Some(512 << 20));
        assert_eq!(parse("1B"), Some(1));
        for bad in [
            "",
            "64",
            "MB",
            "0MB",
            "-1MB",
            "1..5GB",
            "1.GB",
            "64mb",
            "99999999999TB",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_upsets_it(text in "\\PC{0,30}") {
            let _ = parse(&text);
        }
    }
}
