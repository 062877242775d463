//! `residuum bench` as a process.

mod support;

use serde_json::Value;
use support::Place;

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("expected a number, found {value}"))
}

#[test]
fn the_limit_is_the_sum_of_the_steps() {
    let report = Place::new().json(&["bench", "cifar_resnet20", "--seconds", "0", "--layers", "--json"]);
    let layers = report["layers"].as_array().unwrap();
    let sum: f64 = layers.iter().map(|layer| number(&layer["limit_ms"])).sum();
    assert!((sum / number(&report["limit_ms"]) - 1.0).abs() < 1e-9, "{report}");
    let share = number(&report["limit_ms"]) / number(&report["ms_median"]);
    assert!((share / number(&report["limit_share"]) - 1.0).abs() < 1e-9 && share > 0.0, "{report}");
    // Nothing takes less than its multiply-adds by the definition, but for Winograd's and Strassen's, and without zeros.
    let has_fewer = |kind: &str| ["winograd", "strassen", "sparse"].iter().any(|name| kind.contains(name));
    let peak = number(&report["peak_gflops"]);
    for layer in layers.iter().filter(|layer| !has_fewer(layer["kind"].as_str().unwrap())) {
        let least_ms = 2.0 * number(&layer["multiply_adds"]) / peak / 1e6;
        assert!(number(&layer["limit_ms"]) >= 0.999_999 * least_ms, "{layer}");
    }
}

#[test]
fn each_pass_has_one_chosen_kernel() {
    let arguments = ["bench", "kernels", "cifar_resnet20", "-b", "2", "--seconds", "0"];
    let place = Place::new();
    let report = place.json(&[&arguments[..], &["--json"]].concat());
    let shapes = report["shapes"].as_array().unwrap();
    let layers: usize = shapes.iter().map(|shape| shape["layers"].as_array().unwrap().len()).sum();
    assert_eq!((shapes.len(), layers), (6, 19));
    for shape in shapes {
        for pass in ["forward", "backward data", "backward weights"] {
            let kernels = shape["kernels"].as_array().unwrap().iter();
            let chosen = kernels.filter(|kernel| kernel["pass"] == pass && kernel["is_chosen"] == true);
            assert_eq!(chosen.count(), 1, "{pass} of {shape}");
        }
    }
    let lines = place.text(&arguments).lines().count();
    let kernels: usize = shapes.iter().map(|shape| shape["kernels"].as_array().unwrap().len()).sum();
    assert_eq!(lines, 1 + kernels);
}

#[test]
fn one_convolution_is_described_by_flags() {
    let place = Place::new();
    let one = ["bench", "kernels", "--channels", "8,12", "--size", "9", "--stride", "2", "--groups", "4"];
    let report = place.json(&[&one[..], &["--seconds", "0", "--json"]].concat());
    assert_eq!(report["shapes"][0]["shape"], "1x9x9 8->12 3x3/2 in 4 groups");
    assert_eq!(report["shapes"][0]["multiply_adds"], 5 * 5 * 12 * 9 * 2);
    place.refuses(&["bench"], &["MODEL"]);
    place.refuses(&["bench", "kernels"], &["MODEL-NAME"]);
    place.refuses(&["bench", "kernels", "resnet51"], &["resnet51"]);
    place.refuses(&["bench", "kernels", "--channels", "8"], &["--channels", "two whole numbers"]);
    place
        .refuses(&["bench", "kernels", "--channels", "8,9", "--size", "9", "--groups", "4"], &["--groups 4"]);
    place.refuses(&["bench", "kernels", "resnet18", "--channels", "8,8", "--size", "9"], &["--channels"]);
}
