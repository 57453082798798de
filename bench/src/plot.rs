//! The ratios as bars.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use crate::column::Column;
use crate::report::Report;

/// The columns that are compared with the kernel, and their colours.
const BARS: [(Column, RGBColor); 3] = [
    (Column::AfXdpServer, RGBColor(0xE6, 0x9F, 0x00)),
    (Column::AfXdp, RGBColor(0x56, 0xB4, 0xE9)),
    (Column::Memif, RGBColor(0x00, 0x9E, 0x73)),
];

/// Pixels of a row of bars.
const ROW: u32 = 42;

/// Draws how many times better than the kernel each cell is, on a logarithmic
/// scale.
///
/// # Errors
///
/// When the file cannot be written.
pub fn draw(report: &Report, path: &Path) -> Result<(), Box<dyn Error>> {
    let rows = report.rows();
    let cells = rows.iter().flat_map(|row| BARS.iter().filter_map(|(column, _)| report.cell(row, *column)));
    let (low, high) = cells.fold((1.0_f64, 2.0_f64), |(low, high), cell| {
        if cell.ratio.is_normal() { (low.min(cell.ratio), high.max(cell.ratio)) } else { (low, high) }
    });
    let count = rows.len().max(1) as u32;
    let root = SVGBackend::new(path, (900, 120 + ROW * count)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption("Times better than the kernel over veth", ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(210)
        .build_cartesian_2d((low * 0.9..high * 1.1).log_scale(), 0.0..f64::from(count))?;
    let name = |at: &f64| {
        let index = (f64::from(count) - at).floor() as usize;
        let middle = (at.fract() - 0.5).abs() < 0.26;
        rows.get(index).filter(|_| middle).map_or(String::new(), |row| row.name.clone())
    };
    chart
        .configure_mesh()
        .y_labels(rows.len() * 2 + 1)
        .y_label_formatter(&name)
        .x_label_formatter(&|ratio| format!("{ratio:.1}x"))
        .disable_y_mesh()
        .draw()?;
    for (place, (column, colour)) in BARS.into_iter().enumerate() {
        let bars = rows.iter().enumerate().filter_map(|(index, row)| {
            let ratio = report.cell(row, column)?.ratio;
            let top = f64::from(count) - index as f64 - 0.14 - 0.24 * place as f64;
            Some(Rectangle::new([(1.0, top), (ratio, top - 0.22)], colour.filled()))
        });
        chart
            .draw_series(bars)?
            .label(column.title())
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
    root.present()?;
    Ok(())
}
