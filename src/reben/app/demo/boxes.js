// What the boxes of the patch tab hold after one of them was changed, and the text that asks to show that.
(changed, choice, files, kept, asked, every) => {
  // A box tells of an input when it loses the focus, too.
  if (changed === 'choice' && choice === JSON.parse(asked)[0]) return [asked, choice, files, kept];
  if (changed === 'choice') [files, kept] = [null, every];
  if (changed === 'upload') [choice, kept] = [null, every];
  const paths = (files || []).map((file) => file.path);
  return [JSON.stringify([choice, paths, kept]), choice, files, kept];
}
