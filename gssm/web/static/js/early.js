// Before the first paint, so that a chosen theme does not flash; the rest is in theme.js.
try {
  const theme = localStorage.getItem("gssm-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is forbidden: the theme of the system is taken.
}
