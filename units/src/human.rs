//! Quantities as people read them: short, never more exact than useful.

use std::time::Duration;

/// Bytes as `0`, `812`, `12.4M`, `256M`: powers of 1024, at most one decimal, none where it would be 0.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];
    let mut scale = 0_u32;
    // Rounding may reach the next unit: 1023.96K reads 1M.
    while scale < 6 && tenths(bytes, scale) >= 10_240 {
        scale += 1;
    }
    let tenths = tenths(bytes, scale);
    let unit = UNITS.get(scale as usize).copied().unwrap_or("");
    if tenths.is_multiple_of(10) {
        format!("{}{unit}", tenths / 10)
    } else {
        format!("{}.{}{unit}", tenths / 10, tenths % 10)
    }
}

/// Tenths of the unit 1024^scale, rounded to the nearest.
fn tenths(bytes: u64, scale: u32) -> u64 {
    let unit = 1_u128 << (10 * scale);
    u64::try_from((u128::from(bytes) * 10 + unit / 2) / unit).unwrap_or(u64::MAX)
}

/// How long ago or for how long, in its largest unit: `now`, `12s`, `4m`, `5h`, `3d`.
pub fn age(span: Duration) -> String {
    match span.as_secs() {
        0 => "now".to_owned(),
        s @ 1..60 => format!("{s}s"),
        s @ 60..3600 => format!("{}m", s / 60),
        s @ 3600..86_400 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86_400),
    }
}

/// A length of time with two units at most: `0s`, `250ms`, `3.1s`, `1m30s`, `2h`, `3d4h`.
pub fn duration(span: Duration) -> String {
    let millis = span.as_millis();
    let two = |big: u128, unit: &str, small: u128, small_unit: &str| match small {
        0 => format!("{big}{unit}"),
        _ => format!("{big}{unit}{small}{small_unit}"),
    };
    let seconds = millis / 1000;
    match millis {
        0 => "0s".to_owned(),
        1..1000 => format!("{millis}ms"),
        1000..60_000 if (millis / 100).is_multiple_of(10) => format!("{seconds}s"),
        1000..60_000 => format!("{seconds}.{}s", millis / 100 % 10),
        60_000..3_600_000 => two(seconds / 60, "m", seconds % 60, "s"),
        3_600_000..86_400_000 => two(seconds / 3600, "h", seconds / 60 % 60, "m"),
        _ => two(seconds / 86_400, "d", seconds / 3600 % 24, "h"),
    }
}

/// The first 12 hex digits of a digest, without its algorithm.
pub fn short_digest(digest: &str) -> &str {
    let hex = digest.rsplit(':').next().unwrap_or(digest);
    hex.get(..12).unwrap_or(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0"),
            (812, "812"),
            (1023, "1023"),
            (1024, "1K"),
            (1536, "1.5K"),
            (13_002_342, "12.4M"),
            (256 << 20, "256M"),
            ((1 << 20) - 1, "1M"),
            (u64::MAX, "16E"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn ages_and_durations() {
        for (seconds, text) in
            [(0, "now"), (1, "1s"), (59, "59s"), (60, "1m"), (7199, "1h"), (86_400, "1d"), (259_200, "3d")]
        {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
        for (millis, text) in [
            (0, "0s"),
            (250, "250ms"),
            (3_141, "3.1s"),
            (30_000, "30s"),
            (90_000, "1m30s"),
            (7_200_000, "2h"),
            (273_600_000, "3d4h"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn digests() {
        assert_eq!(short_digest(&format!("sha256:3f2a91c04d5e{}", "0".repeat(52))), "3f2a91c04d5e");
        assert_eq!(short_digest("abc"), "abc");
    }
}
