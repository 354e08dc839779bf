declare module "*.css";
declare module "*?worker&inline" {
  const Constructor: new () => Worker;
  export default Constructor;
}
/** Gzip in base64. */
declare module "virtual:lab-engine" {
  const packed: string;
  export default packed;
}
/** JSON of the embedded scenarios, gzip in base64. */
declare module "virtual:lab-scenarios" {
  const packed: string;
  export default packed;
}
/** JSON of the lessons' texts by file name without ending, gzip in base64. */
declare module "virtual:lab-lessons" {
  const packed: string;
  export default packed;
}
