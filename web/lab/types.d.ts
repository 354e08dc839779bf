declare module "*.css";
declare module "*?worker&inline" {
  const Constructor: new () => Worker;
  export default Constructor;
}
/** These are the ids of the elements that hold the contents. */
declare module "virtual:lab-engine" {
  const packed: string;
  export default packed;
}
/** JSON of the embedded scenarios. */
declare module "virtual:lab-scenarios" {
  const packed: string;
  export default packed;
}
/** JSON of the lessons' texts by file name without ending. */
declare module "virtual:lab-lessons" {
  const packed: string;
  export default packed;
}
