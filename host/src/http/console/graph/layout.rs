//! Where the boxes and arrows of a plan go: from the top down, each box below those that it hears.
//! Pure, and for plans of any shape without cycles; an arrow that passes rows gets a place in each.

/// How wide a box is.
pub(super) const WIDTH: f64 = 204.0;
/// How high a box is.
pub(super) const HEIGHT: f64 = 78.0;
/// Between two boxes beside each other.
const GAP: f64 = 28.0;
/// Between two rows: there is room for what is said of an arrow.
const ROW: f64 = 62.0;
/// Around all of it.
const MARGIN: f64 = 8.0;
/// What is said beside an arrow has so much room: a rate, and for how long who sends waits.
const LABEL: f64 = 152.0;
/// How wide the place of an arrow is that passes a row.
const PASSING: f64 = 44.0;
/// How often rows are put into order, and places are evened out.
const SWEEPS: usize = 6;

/// A drawing's measures.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) width: f64,
    pub(super) height: f64,
    /// The middle of each box's upper edge.
    pub(super) boxes: Vec<(f64, f64)>,
    /// Of each arrow the points that it goes through.
    pub(super) arrows: Vec<Vec<(f64, f64)>>,
}

/// A box, or the place of an arrow that passes.
#[derive(Debug)]
struct Node {
    row: usize,
    width: f64,
    x: f64,
    above: Vec<usize>,
    below: Vec<usize>,
}

impl Node {
    fn new(row: usize, width: f64) -> Self {
        Self { row, width, x: 0.0, above: Vec::new(), below: Vec::new() }
    }
}

/// Places `boxes` boxes with arrows from and to their numbers.
pub(super) fn place(boxes: usize, arrows: &[(usize, usize)]) -> Layout {
    let rows_of = rows(boxes, arrows);
    let mut nodes: Vec<Node> = rows_of.iter().map(|row| Node::new(*row, WIDTH)).collect();
    let mut paths = Vec::new();
    for (from, to) in arrows {
        let mut path = vec![*from];
        for row in rows_of[*from] + 1..rows_of[*to] {
            path.push(nodes.len());
            nodes.push(Node::new(row, PASSING));
        }
        path.push(*to);
        for pair in path.windows(2) {
            nodes[pair[0]].below.push(pair[1]);
            nodes[pair[1]].above.push(pair[0]);
        }
        paths.push(path);
    }
    let last = nodes.iter().map(|node| node.row).max().unwrap_or(0);
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); last + 1];
    for (index, node) in nodes.iter().enumerate() {
        rows[node.row].push(index);
    }
    order(&nodes, &mut rows);
    spread(&mut nodes, &rows);
    measure(&nodes, boxes, &paths, last)
}

/// The row of each box: the longest way to it.
fn rows(boxes: usize, arrows: &[(usize, usize)]) -> Vec<usize> {
    let mut rows = vec![0; boxes];
    // No way is longer than there are boxes.
    for _ in 0..boxes {
        for (from, to) in arrows {
            rows[*to] = rows[*to].max(rows[*from] + 1).min(boxes);
        }
    }
    rows
}

/// Puts each row into the order of what it hangs from, and then of what hangs from it.
fn order(nodes: &[Node], rows: &mut [Vec<usize>]) {
    let mut place = vec![0.0; nodes.len()];
    let note = |row: &[usize], place: &mut Vec<f64>| {
        for (at, index) in (0_u32..).zip(row) {
            place[*index] = f64::from(at);
        }
    };
    for row in rows.iter() {
        note(row, &mut place);
    }
    for sweep in 0..SWEEPS {
        let down = sweep % 2 == 0;
        for at in 0..rows.len() {
            let at = if down { at } else { rows.len() - 1 - at };
            let row = &mut rows[at];
            let wanted = |index: usize| {
                let of = if down { &nodes[index].above } else { &nodes[index].below };
                mean(of.iter().map(|other| place[*other])).unwrap_or(place[index])
            };
            row.sort_by(|a, b| wanted(*a).total_cmp(&wanted(*b)));
            note(row, &mut place);
        }
    }
}

/// Gives each its place beside the others of its row, near what it is tied to.
fn spread(nodes: &mut [Node], rows: &[Vec<usize>]) {
    for row in rows {
        let mut x = 0.0;
        for index in row {
            nodes[*index].x = x + nodes[*index].width / 2.0;
            x += nodes[*index].width + GAP;
        }
        let middle = (x - GAP) / 2.0;
        row.iter().for_each(|index| nodes[*index].x -= middle);
    }
    for sweep in 0..SWEEPS {
        let down = sweep % 2 == 0;
        for at in 0..rows.len() {
            let row = &rows[if down { at } else { rows.len() - 1 - at }];
            let wanted: Vec<f64> = row
                .iter()
                .map(|index| {
                    let node = &nodes[*index];
                    let of = if down { &node.above } else { &node.below };
                    mean(of.iter().map(|other| nodes[*other].x)).unwrap_or(node.x)
                })
                .collect();
            settle(nodes, row, &wanted);
        }
    }
}

/// Puts a row as near as may be to where its nodes want to be, without one over another.
fn settle(nodes: &mut [Node], row: &[usize], wanted: &[f64]) {
    let mut least = f64::NEG_INFINITY;
    for (index, wanted) in row.iter().zip(wanted) {
        let half = nodes[*index].width / 2.0;
        nodes[*index].x = wanted.max(least + half);
        least = nodes[*index].x + half + GAP;
    }
    // All were pushed to the right: half of it back.
    let pushed = row.iter().zip(wanted).map(|(index, wanted)| nodes[*index].x - wanted);
    let back = mean(pushed).unwrap_or(0.0);
    row.iter().for_each(|index| nodes[*index].x -= back);
}

fn measure(nodes: &[Node], boxes: usize, paths: &[Vec<usize>], last: usize) -> Layout {
    let edge = |sign: f64| move |node: &Node| node.x + sign * node.width / 2.0;
    let labels = || paths.iter().filter_map(|path| beside(nodes, path));
    let (lefts, rights) = (labels().map(|label| label.0), labels().map(|label| label.1));
    let left = nodes.iter().map(edge(-1.0)).chain(lefts).fold(f64::INFINITY, f64::min);
    let right = nodes.iter().map(edge(1.0)).chain(rights).fold(f64::NEG_INFINITY, f64::max);
    if nodes.is_empty() {
        return Layout::default();
    }
    let x = |node: &Node| node.x - left + MARGIN;
    let y =
        |row: usize| f64::from(u32::try_from(row).unwrap_or(u32::MAX)) * (HEIGHT + ROW) + MARGIN;
    let arrow = |path: &Vec<usize>| {
        let mut points = Vec::new();
        for (at, index) in path.iter().enumerate() {
            let node = &nodes[*index];
            if at > 0 {
                points.push((x(node), y(node.row)));
            }
            if at + 1 < path.len() {
                points.push((x(node), y(node.row) + HEIGHT));
            }
        }
        points
    };
    Layout {
        width: right - left + 2.0 * MARGIN,
        height: y(last) + HEIGHT + MARGIN,
        boxes: nodes[..boxes].iter().map(|node| (x(node), y(node.row))).collect(),
        arrows: paths.iter().map(arrow).collect(),
    }
}

/// From where to where what is said beside an arrow reaches.
fn beside(nodes: &[Node], path: &[usize]) -> Option<(f64, f64)> {
    let [.., from, to] = path else { return None };
    let (from, to) = (nodes[*from].x, nodes[*to].x);
    let (at, anchor) = label(from, to);
    Some(if anchor == "end" { (at - LABEL, at) } else { (at, at + LABEL) })
}

/// Where what is said beside an arrow stands, and from which of its ends it is written. Arrows come
/// from above, and from the side of their beginning: the other side is free.
pub(super) fn label(from: f64, to: f64) -> (f64, &'static str) {
    if to < from - 20.0 { (to - 10.0, "end") } else { (to + 10.0, "start") }
}

fn mean(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = numbers.fold((0_u32, 0.0), |(count, sum), n| (count + 1, sum + n));
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlaps(layout: &Layout) -> bool {
        let boxes = &layout.boxes;
        boxes.iter().enumerate().any(|(i, (x, y))| {
            let mut others = boxes[i + 1..].iter();
            others.any(|(ox, oy)| (y - oy).abs() < HEIGHT && (x - ox).abs() < WIDTH + GAP - 0.01)
        })
    }

    fn within(layout: &Layout) -> bool {
        layout.boxes.iter().all(|(x, y)| {
            *x >= WIDTH / 2.0 && *x <= layout.width - WIDTH / 2.0 && *y + HEIGHT <= layout.height
        }) && layout.arrows.iter().all(|points| {
            let [.., (from, _), (to, _)] = points[..] else { return true };
            let (at, anchor) = label(from, to);
            if anchor == "end" { at >= LABEL } else { at + LABEL <= layout.width }
        })
    }

    #[test]
    fn boxes_stand_below_what_they_hear_and_never_over_each_other() {
        let straight: &[(usize, usize)] = &[(0, 1), (1, 2)];
        let diamond: &[(usize, usize)] = &[(0, 1), (0, 2), (1, 3), (2, 3)];
        // An arrow passes two rows, and one box is tied to nothing.
        let passing: &[(usize, usize)] = &[(0, 1), (1, 2), (2, 3), (0, 3), (0, 4), (0, 5), (0, 6)];
        for (boxes, arrows) in [(3, straight), (4, diamond), (8, passing), (1, &[]), (0, &[])] {
            let layout = place(boxes, arrows);
            assert_eq!(layout.boxes.len(), boxes);
            assert!(!overlaps(&layout) && within(&layout), "{layout:?}");
            for (from, to) in arrows {
                assert!(layout.boxes[*from].1 < layout.boxes[*to].1, "{layout:?}");
            }
        }
        let straight = place(3, straight);
        assert!(straight.boxes.iter().all(|(x, _)| (x - straight.boxes[0].0).abs() < 0.01));
        let passing = place(8, passing);
        assert_eq!(passing.arrows[3].len(), 6, "it goes through a place in each row");
    }
}
