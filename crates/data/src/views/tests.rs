use super::*;
use crate::resize::resize;

fn views(crops: Crops, flip: bool) -> Views {
    Views { crops, flip }
}

fn small() -> Preprocess {
    Preprocess { resize: Some(20), crop: 16, ..Preprocess::cifar10() }
}

/// Another colour at every place.
fn uneven(width: usize, height: usize) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| [(x * 7) as u8, (y * 11) as u8, (x * 3 + y * 5) as u8])
}

fn stacks(views: &Views, images: &[RgbImage]) -> Vec<Stack> {
    let mut stacks = Vec::new();
    for image in images {
        views.add(image, &small(), images.len(), &mut stacks);
    }
    stacks
}

#[test]
fn five_windows_lie_where_torchvision_puts_them() {
    // 500 x 375: shorter side 256, longer trunc(256 * 500 / 375) = 341; excess 117 and 32.
    let frames = views(Crops::Ten, false).frames(&Preprocess::imagenet(), 500, 375);
    assert!(frames.iter().all(|frame| frame.resized == (341, 256)));
    let places: Vec<_> = frames.iter().map(|frame| (frame.window.left, frame.window.top)).collect();
    assert_eq!(places, [(0, 0), (117, 0), (0, 32), (117, 32), (58, 16)]);
    assert!(frames.iter().all(|frame| (frame.window.width, frame.window.height) == (224, 224)));
    // 300 x 457: longer trunc(256 * 457 / 300) = 389, excess 165; half of it, 82.5, goes to the even 82.
    let frames = views(Crops::Ten, false).frames(&Preprocess::imagenet(), 300, 457);
    let places: Vec<_> = frames.iter().map(|frame| (frame.window.left, frame.window.top)).collect();
    assert_eq!(places, [(0, 0), (32, 0), (0, 165), (32, 165), (16, 82)]);
}

#[test]
fn ten_crops_are_five_parts_of_the_resized_picture_and_their_mirror_images() {
    let image = uneven(33, 25);
    let whole = resize(&image, 26, 20, Interpolation::Bilinear);
    let found = stacks(&views(Crops::Ten, false), std::slice::from_ref(&image));
    assert_eq!((found.len(), found[0].views, found[0].h, found[0].w), (1, 10, 16, 16));
    let found: Vec<&[f32]> = found[0].pixels.chunks_exact(3 * 16 * 16).collect();
    let mut expected = vec![0.0; 3 * 16 * 16];
    for (i, (left, top)) in [(0, 0), (10, 0), (0, 4), (10, 4), (5, 2)].into_iter().enumerate() {
        let part = whole.crop(left, top, 16, 16);
        small().normalise(&part, &mut expected);
        assert_eq!(found[2 * i], expected, "part {i}");
        small().normalise(&part.flip(), &mut expected);
        assert_eq!(found[2 * i + 1], expected, "mirror image {i}");
        assert_ne!(found[2 * i], found[2 * i + 1]);
    }
}

#[test]
fn all_views_of_a_flat_picture_are_equal() {
    let flat = RgbImage::from_fn(40, 30, |_, _| [9, 130, 255]);
    for crops in [Crops::One, Crops::Ten] {
        let flip = crops == Crops::One;
        let found = stacks(&views(crops, flip), std::slice::from_ref(&flat));
        let mut found = found[0].pixels.chunks_exact(3 * 16 * 16);
        let first = found.next().unwrap();
        assert!(found.all(|view| view == first));
    }
}

#[test]
fn one_view_is_the_preparation_and_its_mirror_image_follows() {
    for preprocess in [Preprocess::imagenet(), Preprocess::cifar10(), small()] {
        for image in [uneven(32, 32), uneven(50, 41), uneven(1, 9)] {
            let mut found = Vec::new();
            views(Crops::One, true).add(&image, &preprocess, 1, &mut found);
            let (plain, mirrored) = found[0].pixels.split_at(preprocess.len());
            assert_eq!(plain, preprocess.apply(&image));
            let mut expected = vec![0.0; preprocess.len()];
            preprocess.normalise(&preprocess.view(&image).flip(), &mut expected);
            assert_eq!(mirrored, expected);
        }
    }
}

#[test]
fn pictures_lie_one_after_the_other() {
    let images = [uneven(33, 25), uneven(20, 20), uneven(17, 60)];
    let together = stacks(&views(Crops::Ten, false), &images);
    let apart: Vec<f32> = images
        .iter()
        .flat_map(|image| stacks(&views(Crops::Ten, false), std::slice::from_ref(image)).remove(0).pixels)
        .collect();
    assert!(together[0].pixels == apart);
    assert_eq!(together[0].views, 10);
}

#[test]
fn scales_show_the_whole_picture() {
    let image = uneven(33, 25);
    let views = views(Crops::Scales(vec![16, 24]), true);
    let found = stacks(&views, std::slice::from_ref(&image));
    assert_eq!((found.len(), views.count()), (2, 4));
    for (stack, (w, h)) in found.iter().zip([(21, 16), (31, 24)]) {
        assert_eq!((stack.w, stack.h, stack.views), (w, h, 2));
        let whole = resize(&image, w, h, Interpolation::Bilinear);
        let mut expected = vec![0.0; 3 * w * h];
        small().normalise(&whole, &mut expected);
        assert_eq!(stack.pixels[..3 * w * h], expected);
        small().normalise(&whole.flip(), &mut expected);
        assert_eq!(stack.pixels[3 * w * h..], expected);
    }
}

#[test]
fn a_very_long_picture_is_cut_to_its_middle() {
    let frame = views(Crops::Scales(vec![640]), false).frames(&small(), 1, 3000)[0];
    assert_eq!(frame.resized, (640, 1_920_000));
    assert_eq!(frame.window, Window { left: 0, top: 957_440, width: 640, height: 5120 });
}

#[test]
fn views_without_sense_are_refused() {
    let imagenet = Preprocess::imagenet();
    let scales = |scales: &[usize]| views(Crops::Scales(scales.to_vec()), true);
    for good in [views(Crops::One, true), views(Crops::Ten, false), scales(&Views::SCALES)] {
        good.check(&imagenet).unwrap();
    }
    for bad in [views(Crops::Ten, true), scales(&[]), scales(&[224, 0]), scales(&[5000])] {
        assert!(bad.check(&imagenet).is_err(), "{bad:?}");
    }
    views(Crops::One, true).check(&Preprocess::cifar10()).unwrap();
    for bad in [views(Crops::Ten, false), scales(&[32])] {
        let error = bad.check(&Preprocess::cifar10()).unwrap_err().to_string();
        assert!(error.contains("32x32"), "{error}");
    }
}
