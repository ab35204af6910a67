// Returns the error of a promise that must fail.

/**
 * Waits for a promise to be rejected. (`expect(…).rejects` is typed as if there were nothing to await, and a test
 * without the await always passes.)
 * @throws Error when the promise is fulfilled, or rejected with a value that is not an Error
 */
export async function rejection(promise: PromiseLike<unknown>): Promise<Error> {
  let value: unknown;
  try {
    value = await promise;
  } catch (error) {
    if (error instanceof Error) return error;
    throw new Error(`rejected with a value that is not an Error: ${String(error)}`, { cause: error });
  }
  throw new Error(`expected a rejection, and got ${Bun.inspect(value)}`);
}
