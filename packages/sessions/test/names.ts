/** Who makes the tokens of the tests, and for whom. */
export const issuer = 'https://api.example.com'
export const audience = 'example-api'
