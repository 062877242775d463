//! Names of modules: torchvision's for the layers of the published models, else the layers' own.

/// torchvision's name for a layer of the published models (`res4b22_branch2a` → `layer3.22.conv1`), or none
/// for a layer that is not called as theirs are.
pub(super) fn torchvision(layer: &str) -> Option<String> {
    match layer {
        "conv1" => return Some("conv1".into()),
        "bn_conv1" | "scale_conv1" => return Some("bn1".into()),
        _ => {}
    }
    if let Some(rest) = layer.strip_prefix("fc") {
        return (!rest.is_empty() && rest.bytes().all(|c| c.is_ascii_digit())).then(|| "fc".into());
    }
    let (is_conv, rest) = match layer.strip_prefix("res") {
        Some(rest) => (true, rest),
        None => (false, layer.strip_prefix("bn").or_else(|| layer.strip_prefix("scale"))?),
    };
    let (block, branch) = rest.split_once("_branch")?;
    let mut characters = block.chars();
    let stage = characters.next()?.to_digit(10).filter(|stage| (2..=9).contains(stage))?;
    let index = block_index(characters.as_str())?;
    let part = match (branch, is_conv) {
        ("1", true) => "downsample.0",
        ("1", false) => "downsample.1",
        ("2a", true) => "conv1",
        ("2a", false) => "bn1",
        ("2b", true) => "conv2",
        ("2b", false) => "bn2",
        ("2c", true) => "conv3",
        ("2c", false) => "bn3",
        _ => return None,
    };
    Some(format!("layer{}.{index}.{part}", stage - 1))
}

/// Place of a block in its stage: `a`, `b`, `c` …, or `a`, `b1`, `b2` … in the deeper nets.
fn block_index(block: &str) -> Option<usize> {
    if let [letter @ b'a'..=b'z'] = block.as_bytes() {
        return Some(usize::from(letter - b'a'));
    }
    let number = block.strip_prefix('b').filter(|digits| !digits.starts_with(['0', '+']))?;
    number.parse().ok().filter(|&index| index < 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_of_the_published_models_get_torchvisions_names() {
        for (layer, name) in [
            ("conv1", "conv1"),
            ("scale_conv1", "bn1"),
            ("res2a_branch1", "layer1.0.downsample.0"),
            ("bn2a_branch1", "layer1.0.downsample.1"),
            ("res3d_branch2b", "layer2.3.conv2"),
            ("scale4f_branch2c", "layer3.5.bn3"),
            ("res4b35_branch2a", "layer3.35.conv1"),
            ("bn3b1_branch2c", "layer2.1.bn3"),
            ("fc1000", "fc"),
        ] {
            assert_eq!(torchvision(layer).as_deref(), Some(name), "{layer}");
        }
        for layer in [
            "conv2",
            "res2a",
            "res1a_branch2a",
            "res2_branch2a",
            "res2aa_branch2a",
            "res4b0_branch2a",
            "fc",
            "fcx",
            "bn3a_branch2d",
        ] {
            assert_eq!(torchvision(layer), None, "{layer}");
        }
    }
}
