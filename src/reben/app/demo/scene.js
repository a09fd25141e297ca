// Makes the class map answer to the mouse and to the arrow keys. Gradio gives `element` and `trigger`.
let waiting;
const select = (frame, column, row) => {
  const columns = +frame.dataset.columns, rows = +frame.dataset.rows;
  column = Math.max(0, Math.min(columns - 1, column));
  row = Math.max(0, Math.min(rows - 1, row));
  frame.dataset.column = column;
  frame.dataset.row = row;
  const cursor = frame.querySelector('.cursor');
  cursor.style.left = 100 * column / columns + '%';
  cursor.style.top = 100 * row / rows + '%';
  clearTimeout(waiting);
  waiting = setTimeout(() => trigger('select', {column, row, scene: frame.dataset.scene}), 60);
};
element.addEventListener('click', (event) => {
  const frame = event.target.closest('.frame');
  if (!frame) return;
  const box = frame.querySelector('img').getBoundingClientRect();
  select(frame, Math.floor((event.clientX - box.left) / box.width * +frame.dataset.columns),
    Math.floor((event.clientY - box.top) / box.height * +frame.dataset.rows));
});
const steps = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
element.addEventListener('keydown', (event) => {
  const frame = event.target.closest('.frame'), step = steps[event.key];
  if (!frame || !step) return;
  event.preventDefault();
  select(frame, +frame.dataset.column + step[0], +frame.dataset.row + step[1]);
});
