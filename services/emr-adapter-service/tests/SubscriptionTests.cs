using System.Net;

namespace Yizhan.EmrAdapter.Tests;

/// <summary>A FHIR server that knocks, one that does not, and knocks of others.</summary>
[Trait("Clause", "S5")]
public sealed class SubscriptionTests
{
    // Longer than the test may take: what comes earlier was knocked for.
    private const string NoPolls = "--emr-adapter:systems:0:pollMs=3600000";

    [Fact]
    public async Task An_order_is_there_when_the_server_knocks_and_long_before_the_next_look()
    {
        await using var server = await FhirServer.StartAsync(subscriptions: true);
        var web = $"http://127.0.0.1:{FreePorts.Next()}";
        await using var node = await Node.StartAsync([.. server.System(), NoPolls, $"--web:url={web}", $"--emr-adapter:systems:0:notifyUrl={web}"]);
        await Wait.UntilAsync(async () => (await server.AllAsync("Subscription")).Count == 2);
        await Wait.UntilAsync(() => Task.FromResult(node.Service<EmrDatabase>().Read(db => EmrDatabase.Cursor(db, "fhir/emr/ServiceRequest")) is not null));
        var patient = await server.PostAsync("Patient", FhirTests.PatientJson);
        await server.PostAsync("ServiceRequest", FhirTests.Request(patient));
        await Wait.UntilAsync(async () => (await node.WorklistAsync()).Count == 1);

        // Another start asks for no second subscription.
        await server.PostAsync("ServiceRequest", FhirTests.Request(patient, "ACC2"));
        await Wait.UntilAsync(async () => (await node.WorklistAsync()).Count == 2);
        Assert.Equal(["Patient?", "ServiceRequest?"], (await server.AllAsync("Subscription")).Select(s => (string)s["criteria"]!).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task A_server_without_subscriptions_is_looked_at_as_before()
    {
        await using var server = await FhirServer.StartAsync();
        await using var node = await Node.StartAsync([.. server.System(), "--emr-adapter:systems:0:notifyUrl=http://127.0.0.1:9"]);
        var patient = await server.PostAsync("Patient", FhirTests.PatientJson);
        await server.PostAsync("ServiceRequest", FhirTests.Request(patient));
        await Wait.UntilAsync(async () => (await node.WorklistAsync()).Count == 1);
    }

    [Theory]
    [InlineData("emr", null)]
    [InlineData("emr", "wrong")]
    [InlineData("nobody", "wrong")]
    public async Task Who_does_not_know_the_secret_knocks_at_no_door(string system, string? secret)
    {
        await using var server = await FhirServer.StartAsync(subscriptions: true);
        await using var node = await Node.StartAsync([.. server.System(), "--emr-adapter:systems:0:notifyUrl=http://127.0.0.1:9"]);
        using var http = new HttpClient();
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(node.Http.BaseAddress!, $"notify/{system}"));
        if (secret is not null)
        {
            request.Headers.Add(Fhir.FhirSubscription.SecretHeader, secret);
        }

        using var answer = await http.SendAsync(request, Node.Cancel);
        Assert.Equal(HttpStatusCode.NotFound, answer.StatusCode);
    }
}
