/** Checks at compile time that the job's data have the fields that a template names. */

/**
 * The template itself if the data's type has all of its placeholders, else a type that says which is missing.
 * Templates that are not known at compile time, and data of type `any`, pass.
 */
export type CheckedTemplate<Template extends string, Data> = string extends Template
  ? Template
  : [Missing<PlaceholdersOf<Unescaped<Template>>, Data>] extends [never]
    ? Template
    : `the job's data has no '${Missing<PlaceholdersOf<Unescaped<Template>>, Data>}'`;

/** Without the braces that stand for braces. */
type Unescaped<T extends string> = T extends `${infer Before}{{${infer After}`
  ? Unescaped<`${Before}${After}`>
  : T extends `${infer Before}}}${infer After}`
    ? Unescaped<`${Before}${After}`>
    : T;

type PlaceholdersOf<T extends string> = T extends `${string}{${infer Path}}${infer Rest}`
  ? Path | PlaceholdersOf<Rest>
  : never;

/** Those of the paths that the data has not. */
type Missing<Path extends string, Data> = Path extends unknown
  ? Has<Data, Path> extends true
    ? never
    : Path
  : never;

type Has<Data, Path extends string> = 0 extends 1 & Data
  ? true
  : unknown extends Data
    ? true
    : Path extends `${infer Field}.${infer Rest}`
      ? Field extends FieldsOf<Data>
        ? Has<Value<Data, Field>, Rest>
        : false
      : Path extends FieldsOf<Data>
        ? true
        : false;

/** The names under which the data's fields can be reached, numbers of array items included. */
type FieldsOf<Data> = Data extends readonly unknown[]
  ? `${number}`
  : Data extends object
    ? `${keyof Data & (string | number)}`
    : never;

type Value<Data, Field extends string> = NonNullable<
  Data extends readonly (infer Item)[]
    ? Item
    : Field extends keyof Data
      ? Data[Field]
      : Field extends `${infer Index extends number}`
        ? Index extends keyof Data
          ? Data[Index]
          : never
        : never
>;
