// Frames lie in the page column by column; charts and tables take rows.

function rowsOf(frame) {
  if (frame.rows) return frame.rows;
  const names = Object.keys(frame.columns);
  const count = names.length ? frame.columns[names[0]].length : 0;
  frame.rows = Array.from({ length: count }, (_, at) => {
    const row = { _row: at };
    for (const name of names) row[name] = frame.columns[name][at];
    row.name = filled(frame.label, row);
    return row;
  });
  return frame.rows;
}

// The rows as a chart of one measure takes them.
function measured(rows, measure, title) {
  return rows.map((row) => ({
    ...row,
    value: row[measure],
    sign: row.whole ? "whole" : row[measure] < 0 ? "negative" : "positive",
    spoken: `${row.name}, ${title}: ${exact(row[measure])}`,
  }));
}

// The largest size among a chart's rows, which the darkest colours stand for.
function limitOf(rows) {
  return rows.reduce((most, row) => Math.max(most, Math.abs(row.value || 0)), 0) || 1;
}

// A line of Python that finds a row's number in the JSON of the same run; null for what the page computed.
function pythonOf(frame, row, column, variable) {
  const path = frame.paths[column] && filled(frame.paths[column], row);
  if (!path) return null;
  return path.startsWith("[") ? variable + path : path;
}
