//! What a figure looks like from outside: well formed, of its size, the same every time, nothing lost.

use residuum_plot::{Axis, Chart, Field, Figure, Line, Series, View};

fn chart(points: &[(f64, f64)]) -> Chart {
    let mut chart = Chart::new(Axis::new("iterations"), Axis::new("error in %").from_zero())
        .titled("plain <nets>")
        .with_lines("test", "training");
    chart.series.push(Series::new("plain-20", 0, Line::Solid, points.to_vec()));
    chart.series.push(Series::new(
        "plain-20",
        0,
        Line::Dashed,
        points.iter().map(|p| (p.0, p.1 / 2.0)).collect(),
    ));
    chart
}

/// Points of every polyline, and centres of every circle.
fn coordinates(svg: &str) -> Vec<(f64, f64)> {
    let attribute = |line: &str, name: &str| {
        let start = line.find(&format!(" {name}=\""))? + name.len() + 3;
        Some(line[start..].split('"').next()?.to_owned())
    };
    let mut all = Vec::new();
    for line in svg.lines() {
        if let Some(points) = attribute(line, "points") {
            all.extend(points.split_whitespace().map(|point| {
                let (x, y) = point.split_once(',').unwrap();
                (x.parse::<f64>().unwrap(), y.parse::<f64>().unwrap())
            }));
        }
        if let (Some(x), Some(y)) = (attribute(line, "cx"), attribute(line, "cy")) {
            all.push((x.parse().unwrap(), y.parse().unwrap()));
        }
    }
    all
}

/// Every element is closed, every attribute quoted, no bare `<` or `&`.
fn assert_well_formed(svg: &str) {
    let mut open = Vec::new();
    let mut rest = svg;
    while let Some(start) = rest.find('<') {
        let text = &rest[..start];
        assert!(!text.contains('>'), "{text}");
        for part in text.split('&').skip(1) {
            assert!(["amp;", "lt;", "gt;", "quot;"].iter().any(|name| part.starts_with(name)), "{text}");
        }
        let end = start + rest[start..].find('>').expect("an element ends");
        let element = &rest[start + 1..end];
        assert!(element.matches('"').count().is_multiple_of(2), "{element}");
        if let Some(name) = element.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name));
        } else if !element.ends_with('/') {
            open.push(element.split_whitespace().next().unwrap().to_owned());
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty() && rest.trim().is_empty());
}

#[test]
fn whatever_the_points_a_figure_is_whole_and_every_mark_within_it() {
    let many: Vec<(f64, f64)> = (0..5000).map(|i| (f64::from(i), 90.0 / f64::from(i + 1))).collect();
    let cases: [&[(f64, f64)]; 7] = [
        &[],
        &[(1.0, 50.0)],
        &[(1.0, 0.0), (1.0, 0.0)],
        &[(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0), (f64::INFINITY, 1.0)],
        &[(-5.0, -1e9), (5.0, 1e9)],
        &[(0.0, 1e-12), (1.0, 2e-12)],
        &many,
    ];
    for points in cases {
        let mut log = chart(points);
        log.y = Axis::log("loss");
        for charts in [vec![], vec![chart(points)], vec![chart(points), log]] {
            let count = charts.len();
            let figure = Figure::new("a <b> & \"c\"", charts);
            let (svg, png) = (figure.svg(), figure.png().unwrap());
            assert_well_formed(&svg);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            let (width, height) = figure.size();
            for (x, y) in coordinates(&svg) {
                assert!((0.0..=f64::from(width)).contains(&x) && (0.0..=f64::from(height)).contains(&y));
            }
            let picture = image::load_from_memory(&png).unwrap();
            assert_eq!((picture.width(), picture.height()), (2 * width, 2 * height));
            assert!(picture.to_rgb8().pixels().any(|p| p.0 != [255; 3]), "{count} charts");
            assert!(svg == figure.svg() && png == figure.png().unwrap());
        }
    }
}

#[test]
fn every_point_is_drawn_and_listed() {
    let points = [(0.0, 80.0), (10.0, 40.0), (20.0, 20.0)];
    let figure = Figure::new("Error", vec![chart(&points)]);
    let svg = figure.svg();
    assert_eq!(svg.matches("<circle").count(), 6);
    for text in [">iterations<", ">error in %<", ">plain &lt;nets&gt;<", ">plain-20<", ">test<", ">training<"]
    {
        assert_eq!(svg.matches(text).count(), 1, "{text}");
    }
    assert_eq!(svg.matches("stroke-dasharray").count(), 2, "a dashed curve and its sample");
    let csv = figure.csv();
    assert_eq!(csv.lines().count(), 7);
    assert!(csv.contains("plain <nets>,plain-20,test,10,40\n"), "{csv}");
    assert!(csv.contains("plain <nets>,plain-20,training,20,10\n"), "{csv}");
}

#[test]
fn the_picture_shows_the_curves_colour() {
    let figure = Figure::new("Error", vec![chart(&[(0.0, 80.0), (20.0, 20.0)])]);
    let picture = image::load_from_memory(&figure.png().unwrap()).unwrap().to_rgb8();
    assert!(picture.pixels().filter(|p| p.0 == [0x00, 0x72, 0xb2]).count() > 500);
}

#[test]
fn too_many_charts_are_refused() {
    let error = Figure::new("many", vec![chart(&[]); 49]).png().unwrap_err().to_string();
    assert!(error.contains("48") && error.contains("49"), "{error}");
}

#[test]
fn fields_are_drawn_in_every_view_whatever_their_values() {
    let bowl = |i: usize| 1.0 + (i % 9).abs_diff(4).pow(2) as f64 + (i / 9).abs_diff(4).pow(2) as f64;
    let fields: [Vec<f64>; 5] = [
        (0..81).map(bowl).collect(),
        vec![3.0; 81],
        vec![f64::NAN; 81],
        (0..81).map(|i| if i % 5 == 0 { f64::INFINITY } else { bowl(i) }).collect(),
        vec![0.0],
    ];
    for values in fields {
        for view in [View::Cells, View::Contours, View::Surface] {
            for scale in [Axis::new("loss"), Axis::log("loss")] {
                let columns = if values.len() == 1 { 1 } else { 9 };
                let field =
                    Field { columns, values: values.clone(), x: (-1.0, 1.0), y: (-1.0, 1.0), scale, view };
                let mut chart = Chart::new(Axis::new("first"), Axis::new("second")).titled("loss <surface>");
                chart.field = Some(field);
                chart.names.push(((1.0, 1.0), "corner".into()));
                let figure = Figure::new("Landscape", vec![chart, marks()]);
                let (svg, png) = (figure.svg(), figure.png().unwrap());
                assert_well_formed(&svg);
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
                let (width, height) = figure.size();
                for (x, y) in coordinates(&svg) {
                    assert!((0.0..=f64::from(width)).contains(&x) && (0.0..=f64::from(height)).contains(&y));
                }
                let picture = image::load_from_memory(&png).unwrap();
                assert_eq!((picture.width(), picture.height()), (2 * width, 2 * height));
            }
        }
    }
}

fn marks() -> Chart {
    let mut chart = Chart::new(Axis::new("x"), Axis::new("y"));
    for colour in 0..24 {
        let points = vec![(colour as f64, 1.0), (2.0, colour as f64)];
        chart.series.push(Series::new(format!("class {colour}"), colour, Line::Marks, points));
    }
    chart
}

#[test]
fn marks_differ_in_form_where_colours_repeat() {
    let svg = Figure::new("Marks", vec![marks()]).svg();
    // Discs of the first and of the fourth seven, rings of the second, crosses of the third; each in the legend.
    assert_eq!(svg.matches("<circle").count(), 3 * (7 + 3));
    assert_eq!(svg.matches("stroke-width=\"1.4\"").count(), 3 * 7 + 3 * 2 * 7);
}
