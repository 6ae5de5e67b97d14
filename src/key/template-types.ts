/** Checks at compile time that a template's placeholders name fields that there are. */

/**
 * The template, if the job's data has the fields of all of its placeholders. Else a string that says which field is missing: the
 * compiler shows it as the type that the template should have.
 *
 * `never` stands for a template whose type TypeScript did not infer, because other type arguments were given. Such a template
 * must have at least one field of the data.
 */
export type CheckedTemplate<Template extends string, Data> = [Template] extends [never]
  ? TemplateWithField<Data>
  : TemplateOrErrors<Template, TemplateErrors<Template, Data>>;

/** The same for the template of a call. */
export type CheckedCallTemplate<Template extends string, Args extends readonly unknown[]> = TemplateOrErrors<
  Template,
  CallTemplateErrors<Template, Args>
>;

/**
 * The errors in a template over a job's data; `never` if it has none. A template that is not known at compile time is not
 * checked, nor is data that may have any field.
 */
export type TemplateErrors<Template extends string, Data> = MissingFields<Template, Data, "the job's data">;

/**
 * The errors in a template over the arguments of a call. Its placeholders are paths into the first argument, or into the list of
 * arguments if all of them begin with a number.
 */
export type CallTemplateErrors<Template extends string, Args extends readonly unknown[]> =
  PlaceholdersOf<Template> extends `${bigint}` | `${bigint}.${string}`
    ? MissingFields<Template, Args, 'the list of arguments'>
    : MissingFields<Template, Args[0], 'the first argument'>;

type TemplateOrErrors<Template, Errors> = [Errors] extends [never] ? Template : Errors;

/** An error for each placeholder that has no field; `never` if all have one. */
type MissingFields<Template extends string, Data, Where extends string> = string extends Template
  ? never
  : MissingField<PlaceholdersOf<Template>, Data, Where>;

type MissingField<Path extends string, Data, Where extends string> = Path extends unknown
  ? Has<Data, Path> extends true
    ? never
    : `no field '${Path}' in ${Where}`
  : never;

type PlaceholdersOf<Template extends string> = Placeholders<Unescaped<Template>>;

type Placeholders<T extends string> = T extends `${string}{${infer Path}}${infer Rest}`
  ? Path | Placeholders<Rest>
  : never;

/** Without the braces that stand for braces. */
type Unescaped<T extends string> = T extends `${infer Before}{{${infer After}`
  ? Unescaped<`${Before}${After}`>
  : T extends `${infer Before}}}${infer After}`
    ? Unescaped<`${Before}${After}`>
    : T;

type Has<Data, Path extends string> =
  IsUnknown<Data> extends true
    ? true
    : Path extends `${infer Field}.${infer Rest}`
      ? Field extends FieldsOf<Data>
        ? Has<Value<Data, Field>, Rest>
        : false
      : Path extends FieldsOf<Data>
        ? true
        : false;

/** Data that may have any field: `any`, `unknown`, `object` or `{}`. */
type IsUnknown<Data> = unknown extends Data
  ? true
  : [keyof Data] extends [never]
    ? object extends Data
      ? true
      : false
    : false;

/** The names of the data's fields. Those of an array are the numbers of its items. */
type FieldsOf<Data> = Data extends readonly unknown[]
  ? number extends Data['length']
    ? `${number}`
    : Exclude<keyof Data, keyof unknown[]> & string
  : Data extends object
    ? `${keyof Data & (string | number)}`
    : never;

type Value<Data, Field extends string> = NonNullable<
  Data extends readonly unknown[]
    ? Field extends keyof Data
      ? Data[Field]
      : Data[number]
    : Field extends keyof Data
      ? Data[Field]
      : Field extends `${infer Index extends number}`
        ? Index extends keyof Data
          ? Data[Index]
          : never
        : never
>;

type TemplateWithField<Data> = IsUnknown<Data> extends true ? string : `${string}{${PathsOf<Data>}}${string}`;

/** The paths into the data. What follows their second step is not checked. */
type PathsOf<Data, Field extends FieldsOf<Data> = FieldsOf<Data>> = Field extends unknown
  ? Field | `${Field}.${FieldsOf<Value<Data, Field>>}${'' | `.${string}`}`
  : never;
