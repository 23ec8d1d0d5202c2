use super::*;

fn pico(text: &str) -> Result<u64, BadAmount> {
    Picodollars::from_decimal(text).map(Picodollars::get)
}

#[test]
fn decimal_text_is_read_exactly() {
    for (text, want) in [
        ("0", 0),
        ("0.0", 0),
        ("-0", 0),
        ("0e999999999999999999999", 0),
        ("1", DOLLAR),
        ("+1", DOLLAR),
        ("007", 7 * DOLLAR),
        (".5", DOLLAR / 2),
        ("5.", 5 * DOLLAR),
        ("0.0000005", 500_000),
        ("5e-7", 500_000),
        ("1.5E-6", 1_500_000),
        ("150e-8", 1_500_000),
        ("0.000000000001", 1),
        ("0.00000000000100000000000000", 1),
        ("1e-12", 1),
        ("1000e-15", 1),
        ("0.1", 100_000_000_000),
        ("18446744.073709551615", u64::MAX),
        ("18446744073709551615e-12", u64::MAX),
        ("1e7", 10_000_000 * DOLLAR),
        ("0.0000000000000000000000000001e28", DOLLAR),
    ] {
        assert_eq!(pico(text), Ok(want), "{text}");
    }
}

#[test]
fn text_without_an_exact_amount_is_refused() {
    use BadAmount::{Negative, NotANumber, TooFine, TooLarge};
    for (text, want) in [
        ("", NotANumber),
        (".", NotANumber),
        ("-", NotANumber),
        ("e5", NotANumber),
        ("1e", NotANumber),
        ("1e+", NotANumber),
        ("1e5.0", NotANumber),
        ("1.2.3", NotANumber),
        ("1,5", NotANumber),
        ("1_000", NotANumber),
        (" 1", NotANumber),
        ("$1", NotANumber),
        ("--1", NotANumber),
        ("0x10", NotANumber),
        ("nan", NotANumber),
        ("inf", NotANumber),
        ("١", NotANumber),
        ("-1", Negative),
        ("-1e-12", Negative),
        ("0.0000000000001", TooFine),
        ("1.0000000000001", TooFine),
        ("1e-13", TooFine),
        ("1e-99999999999999999999", TooFine),
        ("18446744.073709551616", TooLarge),
        ("1e8", TooLarge),
        ("1e300", TooLarge),
        ("1e99999999999999999999", TooLarge),
        ("123456789012345678901234567890", TooLarge),
    ] {
        assert_eq!(pico(text), Err(want), "{text}");
    }
    assert!(TooFine.to_string().contains("12 decimals"));
    assert!(TooLarge.to_string().contains("18446744.073709551615 dollars"));
}

#[test]
fn a_price_per_million_is_a_millionth() {
    let read = |text| Picodollars::from_decimal_per_million(text).map(Picodollars::get);
    assert_eq!(read("0.15"), Ok(150_000));
    assert_eq!(read("2.5"), Ok(2_500_000));
    assert_eq!(read("0.000001"), Ok(1));
    assert_eq!(read("0.0000001"), Err(BadAmount::TooFine));
    assert_eq!(read("1e12"), Ok(1_000_000 * DOLLAR));
}

#[test]
fn what_is_shown_is_read_back() {
    for (amount, want) in [
        (0, "0"),
        (1, "0.000000000001"),
        (500_000, "0.0000005"),
        (DOLLAR, "1"),
        (15 * DOLLAR + DOLLAR / 10, "15.1"),
        (u64::MAX, "18446744.073709551615"),
    ] {
        let shown = Picodollars::new(amount).to_string();
        assert_eq!((shown.as_str(), pico(&shown)), (want, Ok(amount)));
    }
    assert_eq!(format!("{:.2}", Picodollars::new(15 * DOLLAR)), "15.00");
    assert_eq!(format!("{:.2}", Picodollars::new(1)), "0.000000000001");
    assert_eq!(format!("{:.99}", Picodollars::new(1)), "0.000000000001");
}

#[test]
fn no_sum_wraps_around() {
    let one = Picodollars::new(1);
    assert_eq!(Picodollars::MAX.saturating_add(one), Picodollars::MAX);
    assert_eq!(Picodollars::MAX.saturating_mul(2), Picodollars::MAX);
    assert_eq!(Picodollars::ZERO.saturating_sub(one), Picodollars::ZERO);
    assert_eq!(Picodollars::MAX.checked_add(one), None);
    assert_eq!(Picodollars::MAX.checked_mul(2), None);
    assert_eq!(Picodollars::ZERO.checked_sub(one), None);
    assert_eq!(one.checked_add(one), Some(Picodollars::new(2)));
    assert_eq!(one.checked_sub(one), Some(Picodollars::ZERO));
    assert_eq!(one.checked_mul(3), Some(Picodollars::new(3)));
    assert_eq!([one, one, Picodollars::MAX].into_iter().sum::<Picodollars>(), Picodollars::MAX);
}

#[test]
fn tenths_add_up_exactly() {
    let tenth = Picodollars::from_decimal("0.1").expect("an amount");
    assert_eq!((0..10).map(|_| tenth).sum::<Picodollars>().get(), DOLLAR);
}

#[test]
fn the_float_is_that_of_the_text() {
    for text in ["0.0000005", "0.15", "1.5e-6", "0.000000000001", "1234.567890123456"] {
        let read = Picodollars::from_decimal(text).expect("an amount");
        assert_eq!(read.as_dollars().to_bits(), text.parse::<f64>().expect("a float").to_bits());
    }
}
