/** What `--version` prints, and each side tells the other. Kept equal to package.json by a test. */
export const version = "0.1.0";
