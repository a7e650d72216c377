/* Five control problems, one environment at a time: a state (S,) of doubles, an action as a double, an observation (D,)
 * of floats.
 *
 * The operations are in the order in which gymnasium's environments do them, each rounded where theirs is, so that
 * the states are theirs to the last bit where NumPy's cos and sin are the C library's. Three of them compute partly in
 * float32: what NumPy 2 makes of a float32 array and a Python number. Another kernel may call ENVS[kind].step on one
 * environment; nothing here allocates, locks or fails. */
#ifndef MINIRL_CLASSIC_CONTROL_H
#define MINIRL_CLASSIC_CONTROL_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#define ENV_PI 3.141592653589793

typedef struct { /* NumPy's bitgen_t, what the capsule of a BitGenerator points to */
    void *state;
    uint64_t (*next_uint64)(void *);
    uint32_t (*next_uint32)(void *);
    double (*next_double)(void *);
    uint64_t (*next_raw)(void *);
} Bits;

typedef struct {
    int states, draws, obs; /* S; how many of them a reset draws, the others are 0; D */
    int actions;            /* 0..actions−1, or 0: one float */
    int narrow;             /* the first state is rounded to float32 */
    int (*step)(double *s, double action, int first, double *reward); /* first step of an episode? -> terminated */
    void (*observe)(const double *s, float *obs);
} Env;

/* x², as NumPy's scalars square: the C library's pow, which is not x·x in one of a thousand. The exponent is hidden
 * from the compiler. */
static const volatile double env_two = 2.0;
static inline double env_square(double x) { return pow(x, env_two); }

static inline double env_clip(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

/* ---------------------------------------------------------------------------- CartPole: x, ẋ, θ, θ̇; force of ±10 N */

static inline int cartpole_step(double *s, double action, int first, double *reward)
{
    /* masses, half the pole, mass · half, seconds */
    const double total = 0.1 + 1.0, half = 0.5, moment = 0.1 * 0.5, tau = 0.02;
    const double cosine = cos(s[2]), sine = sin(s[2]), force = action == 1 ? 10.0 : -10.0;
    const double push = (force + moment * (s[3] * s[3]) * sine) / total;
    const double theta_acc = (9.8 * sine - cosine * push) / (half * (4.0 / 3.0 - 0.1 * (cosine * cosine) / total));
    const double x_acc = push - moment * theta_acc * cosine / total;
    const double angle = 12 * 2 * ENV_PI / 360;
    (void)first;
    s[0] = s[0] + tau * s[1];
    s[1] = s[1] + tau * x_acc;
    s[2] = s[2] + tau * s[3];
    s[3] = s[3] + tau * theta_acc;
    *reward = 1.0;
    return s[0] < -2.4 || s[0] > 2.4 || s[2] < -angle || s[2] > angle;
}

static inline void cartpole_observe(const double *s, float *obs)
{
    for (int k = 0; k < 4; k++) obs[k] = (float)s[k];
}

/* ------------------------------------------------------------------------------- Pendulum: θ, θ̇; torque in [−2, 2] */

static inline int pendulum_step(double *s, double action, int first, double *reward)
{
    const double dt = 0.05, round = 2 * ENV_PI;
    const float u = (float)env_clip(action, -2.0, 2.0); /* its terms are float32 */
    double angle = fmod(s[0] + ENV_PI, round);
    (void)first;
    if (angle < 0) angle += round; /* Python's %, with the divisor's sign */
    angle -= ENV_PI;
    *reward = -(env_square(angle) + 0.1 * env_square(s[1]) + (double)(0.001f * powf(u, (float)env_two)));
    s[1] = env_clip(s[1] + (15.0 * sin(s[0]) + (double)(3.0f * u)) * dt, -8.0, 8.0);
    s[0] = s[0] + s[1] * dt;
    return 0;
}

static inline void pendulum_observe(const double *s, float *obs)
{
    obs[0] = (float)cos(s[0]);
    obs[1] = (float)sin(s[0]);
    obs[2] = (float)s[1];
}

/* ------------------------------------------------------- Acrobot: θ₁, θ₂, θ̇₁, θ̇₂; torque of −1, 0, 1 on the joint */

static inline void acrobot_slope(const double *s, double torque, double *ds)
{
    const double half_turn = ENV_PI / 2.0, cosine = cos(s[1]), sine = sin(s[1]);
    const double d1 = 0.25 + (1.25 + 1.0 * cosine) + 1.0 + 1.0, d2 = 0.25 + 0.5 * cosine + 1.0;
    const double phi2 = 0.5 * 9.8 * cos(s[0] + s[1] - half_turn);
    const double phi1 = -0.5 * env_square(s[3]) * sine - 1.0 * s[3] * s[2] * sine
        + 1.5 * 9.8 * cos(s[0] - half_turn) + phi2;
    ds[0] = s[2];
    ds[1] = s[3];
    ds[3] = (torque + d2 / d1 * phi1 - 0.5 * env_square(s[2]) * sine - phi2) / (1.25 - env_square(d2) / d1);
    ds[2] = -(d2 * ds[3] + phi1) / d1;
}

static inline double acrobot_wrap(double angle) /* into [−π, π] */
{
    /* so far no step goes: the loops must end whatever they are given */
    if (!(fabs(angle) < 1000)) angle = fmod(angle, 2 * ENV_PI);
    while (angle > ENV_PI) angle = angle - 2 * ENV_PI;
    while (angle < -ENV_PI) angle = angle + 2 * ENV_PI;
    return angle;
}

static inline int acrobot_step(double *s, double action, int first, double *reward)
{
    const double dt = 0.2, torque = action - 1;
    double k1[4], k2[4], k3[4], k4[4], at[4];
    (void)first;
    acrobot_slope(s, torque, k1);
    for (int k = 0; k < 4; k++) at[k] = s[k] + dt / 2.0 * k1[k];
    acrobot_slope(at, torque, k2);
    for (int k = 0; k < 4; k++) at[k] = s[k] + dt / 2.0 * k2[k];
    acrobot_slope(at, torque, k3);
    for (int k = 0; k < 4; k++) at[k] = s[k] + dt * k3[k];
    acrobot_slope(at, torque, k4);
    for (int k = 0; k < 4; k++) s[k] = s[k] + dt / 6.0 * (k1[k] + 2 * k2[k] + 2 * k3[k] + k4[k]);
    s[0] = acrobot_wrap(s[0]);
    s[1] = acrobot_wrap(s[1]);
    s[2] = env_clip(s[2], -4 * ENV_PI, 4 * ENV_PI);
    s[3] = env_clip(s[3], -9 * ENV_PI, 9 * ENV_PI);
    const int swung = -cos(s[0]) - cos(s[1] + s[0]) > 1.0;
    *reward = swung ? 0.0 : -1.0;
    return swung;
}

static inline void acrobot_observe(const double *s, float *obs)
{
    obs[0] = (float)cos(s[0]);
    obs[1] = (float)sin(s[0]);
    obs[2] = (float)cos(s[1]);
    obs[3] = (float)sin(s[1]);
    obs[4] = (float)s[2];
    obs[5] = (float)s[3];
}

/* ---------------------------------------------------------------- MountainCar: position, velocity; push of −1, 0, 1 */

static inline int mountain_car_step(double *s, double action, int first, double *reward)
{
    (void)first;
    s[1] = env_clip(s[1] + ((action - 1) * 0.001 + cos(3 * s[0]) * -0.0025), -0.07, 0.07);
    s[0] = env_clip(s[0] + s[1], -1.2, 0.6);
    if (s[0] == -1.2 && s[1] < 0) s[1] = 0;
    *reward = -1.0;
    return s[0] >= 0.5 && s[1] >= 0;
}

static inline void mountain_car_observe(const double *s, float *obs)
{
    obs[0] = (float)s[0];
    obs[1] = (float)s[1];
}

/* A number as the state's type holds it: the first state of an episode is float64, the later ones are float32. */
static inline double env_held(double x, int first) { return first ? x : (double)(float)x; }

static inline int mountain_car_continuous_step(double *s, double action, int first, double *reward)
{
    const double slope = 0.0025 * cos(env_held(3 * s[0], first)), fastest = env_held(0.07, first),
        wall = env_held(-1.2, first);
    double push = action < -1 ? -0.0015 - slope : 0.0015 - slope;
    /* a float32 that was not cut stays one */
    if (-1 <= action && action <= 1) push = (double)((float)action * 0.0015f - (float)slope);
    double v = env_held(s[1] + env_held(push, first), first), x;
    v = env_clip(v, -fastest, fastest);
    x = env_clip(env_held(s[0] + v, first), wall, env_held(0.6, first));
    if (x == wall && v < 0) v = 0;
    const int there = x >= env_held(0.45, first) && v >= 0;
    *reward = (there ? 100.0 : 0.0) - action * action * 0.1;
    s[0] = (float)x;
    s[1] = (float)v;
    return there;
}

/* ------------------------------------------------------------------------------------------------------ all of them */

static const Env ENVS[] = {
    {4, 4, 4, 2, 0, cartpole_step, cartpole_observe},
    {2, 2, 3, 0, 0, pendulum_step, pendulum_observe},
    {4, 4, 6, 3, 1, acrobot_step, acrobot_observe},
    {2, 1, 2, 3, 0, mountain_car_step, mountain_car_observe},
    {2, 1, 2, 0, 0, mountain_car_continuous_step, mountain_car_observe},
};

/* The first state of an episode: low + (high − low) u, as Generator.uniform draws it */
static inline void env_start(const Env *env, Bits *bits, const double *low, const double *high, double *s)
{
    for (int k = 0; k < env->states; k++) {
        s[k] = k < env->draws ? low[k] + (high[k] - low[k]) * bits->next_double(bits->state) : 0.0;
        if (env->narrow) s[k] = (float)s[k];
    }
}

static inline double env_action(const Env *env, const void *action, ptrdiff_t i)
{
    return env->actions ? (double)((const int64_t *)action)[i] : (double)((const float *)action)[i];
}

/* The first row with an action that the environment does not take, −1 when there is none */
static ptrdiff_t env_bad_action(const Env *env, const void *action, const uint8_t *skip, ptrdiff_t count)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        const double a = env_action(env, action, i);
        const int good = env->actions ? 0 <= a && a < env->actions : isfinite(a);
        if (!good && !skip[i]) return i;
    }
    return -1;
}

/* One step of each environment that is not skipped; -> how many episodes ended */
static ptrdiff_t env_step_all(const Env *env, double *state, int64_t *steps, const void *action, const uint8_t *skip,
    int64_t limit, float *obs, double *reward, uint8_t *terminated, uint8_t *truncated, ptrdiff_t count)
{
    ptrdiff_t ended = 0;
    for (ptrdiff_t i = 0; i < count; i++, state += env->states, obs += env->obs) {
        reward[i] = 0.0;
        terminated[i] = truncated[i] = 0;
        if (skip[i]) continue;
        terminated[i] = (uint8_t)env->step(state, env_action(env, action, i), steps[i] == 0, &reward[i]);
        truncated[i] = ++steps[i] >= limit;
        env->observe(state, obs);
        ended += terminated[i] | truncated[i];
    }
    return ended;
}

#endif
